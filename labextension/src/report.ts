/**
 * The reports of a notebook, read from the outputs that it is saved with.
 */

/** The MIME type of a report of schema 1. */
export const MIME_TYPE = 'application/vnd.jaxvjp.report.v1+json';

export type Severity = 'error' | 'warning' | 'note';

/** A line of the checked program; `start` and `end` count characters, as Python does. */
export interface ISnippet {
  line: number;
  text: string;
  start?: number;
  end?: number;
}

/** What a report says of one finding; what does not apply is left out. */
export interface IFinding {
  code: string;
  severity: Severity;
  title?: string;
  message?: string;
  fix?: string;
  /** The end of `fix` that is code. */
  fix_code?: string;
  /** Where the fix is certain: what the name at `snippet` is called instead. */
  new_name?: string;
  line?: number;
  source?: string;
  snippet?: ISnippet;
  cause_of?: number[];
}

export interface IReport {
  schema: number;
  findings: IFinding[];
}

/** A cell as far as reports are concerned: its name, `In [count]`, its text, the data of its outputs. */
export interface IRunCell {
  id: string;
  count: number | null;
  text: string;
  outputs: readonly unknown[];
}

/** The report in the data of an output; null where there is none that this version can read. */
export function reportIn(data: unknown): IReport | null {
  const report = isRecord(data) ? data[MIME_TYPE] : null;
  if (
    !isRecord(report) ||
    report['schema'] !== 1 ||
    !Array.isArray(report['findings'])
  ) {
    return null;
  }
  return { schema: 1, findings: report['findings'].filter(isFinding) };
}

/** The reports below a cell. */
export function reportsOf(cell: IRunCell): IReport[] {
  return cell.outputs
    .map(reportIn)
    .filter((report): report is IReport => report !== null);
}

/** The codes of the findings that this one follows from. */
export function causesOf(report: IReport, index: number): string[] {
  const causes = report.findings.filter(finding =>
    finding.cause_of?.includes(index)
  );
  return [...new Set(causes.map(finding => finding.code))];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isFinding(value: unknown): value is IFinding {
  return (
    isRecord(value) &&
    typeof value['code'] === 'string' &&
    ['error', 'warning', 'note'].includes(value['severity'] as string) &&
    [value['fix'] ?? '', value['fix_code'] ?? ''].every(
      text => typeof text === 'string'
    )
  );
}
