/**
 * Which cell a finding is about, and which line of it.
 */
import {
  causesOf,
  IFinding,
  IReport,
  IRunCell,
  ISnippet,
  reportsOf,
  Severity
} from './report';

/** A finding at a line of a cell. */
export interface IMark {
  finding: IFinding;
  line: number;
  /** The codes of the findings that this one follows from. */
  causes: string[];
}

/** A range of characters, as the editor counts them. */
export interface IRange {
  from: number;
  to: number;
}

/**
 * The marks of all cells, by their names.
 *
 * A finding is about the cell that was checked, or about an earlier one that is known by its
 * number: once that one has run again, it has another number, and the finding says nothing of it.
 */
export function marksOf(cells: readonly IRunCell[]): Map<string, IMark[]> {
  const marks = new Map<string, IMark[]>();
  for (const cell of cells) {
    for (const report of reportsOf(cell)) {
      for (const [index, finding] of report.findings.entries()) {
        const target = cellOf(finding, cell, cells, finding.snippet);
        if (target !== null && finding.line) {
          const mark = markOf(report, finding, index, finding.line);
          marks.set(target.id, merged(marks.get(target.id) ?? [], mark));
        }
      }
    }
  }
  return marks;
}

/** Two cells may show the same of a third: the worse of the two counts. */
function merged(marks: IMark[], mark: IMark): IMark[] {
  const { code, severity } = mark.finding;
  const same = marks.find(
    ({ finding, line }) =>
      line === mark.line &&
      finding.code === code &&
      finding.snippet?.start === mark.finding.snippet?.start
  );
  if (!same) {
    return [...marks, mark];
  }
  const worse = rank(severity) < rank(same.finding.severity) ? mark : same;
  return marks.map(one => (one === same ? worse : one));
}

function rank(severity: Severity): number {
  return ['error', 'warning', 'note'].indexOf(severity);
}

/**
 * The cell with this number: `In[3]`, or the cell itself where there is no source.
 *
 * After a restart of the kernel several cells may have the same number: the one that has the line.
 */
export function cellOf(
  place: { source?: string },
  own: IRunCell,
  cells: readonly IRunCell[],
  snippet?: ISnippet
): IRunCell | null {
  if (!place.source) {
    return own;
  }
  const number = /^In\[(\d+)\]$/.exec(place.source)?.[1];
  const numbered = cells.filter(cell => String(cell.count) === number);
  const reads = (cell: IRunCell) =>
    snippet && findLine(cell.text.split('\n'), snippet.line, snippet) >= 0;
  return numbered.find(reads) ?? numbered[0] ?? null;
}

/**
 * Which line, counted from 0, of a text is meant by a finding that was at `line` when the cell ran.
 *
 * The cell may have been edited since then: the nearest line that reads the same, or -1.
 */
export function findLine(
  lines: readonly string[],
  line: number,
  snippet: ISnippet | undefined
): number {
  const at = line - 1;
  if (!snippet) {
    return at < lines.length ? at : -1;
  }
  let best = -1;
  for (const [index, text] of lines.entries()) {
    const nearer = best < 0 || Math.abs(index - at) < Math.abs(best - at);
    if (text.trimEnd() === snippet.text.trimEnd() && nearer) {
      best = index;
    }
  }
  return best;
}

/** The part of the line that is meant; the whole line, without its indentation, where none is given. */
export function rangeIn(text: string, snippet: ISnippet | undefined): IRange {
  const part = snippet ? partOf(snippet) : { from: 0, to: 0 };
  if (part.to > part.from) {
    return part;
  }
  const from = text.length - text.trimStart().length;
  return { from, to: Math.max(from, text.trimEnd().length) };
}

/** Python counts characters, the editor UTF-16 units. */
function partOf(snippet: ISnippet): IRange {
  const characters = Array.from(snippet.text);
  const units = (count: number) => characters.slice(0, count).join('').length;
  return { from: units(snippet.start ?? 0), to: units(snippet.end ?? 0) };
}

function markOf(
  report: IReport,
  finding: IFinding,
  index: number,
  line: number
): IMark {
  return { finding, line, causes: causesOf(report, index) };
}
