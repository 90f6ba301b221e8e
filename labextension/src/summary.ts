/**
 * What a run of the whole notebook has found.
 */
import { IFinding, IRunCell, reportsOf, Severity } from './report';

/** A cell with findings: how many of each severity, and the first of them, which is the worst. */
export interface ISummaryEntry {
  cell: string;
  number: number | null;
  counts: Record<Severity, number>;
  first: IFinding;
}

/** The cells with findings, of those that ran. */
export function summaryOf(
  cells: readonly IRunCell[],
  ran: ReadonlySet<string>
): ISummaryEntry[] {
  const entries: ISummaryEntry[] = [];
  for (const cell of cells.filter(one => ran.has(one.id))) {
    const findings = reportsOf(cell).flatMap(report => report.findings);
    const [first] = findings;
    if (first) {
      const count = (severity: Severity) =>
        findings.filter(finding => finding.severity === severity).length;
      const counts = {
        error: count('error'),
        warning: count('warning'),
        note: count('note')
      };
      entries.push({ cell: cell.id, number: cell.count, counts, first });
    }
  }
  return entries;
}
