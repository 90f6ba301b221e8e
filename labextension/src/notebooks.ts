/**
 * Notebooks that are open: their reports as marks, and ways to get to a line of them.
 */
import { Extension } from '@codemirror/state';
import {
  CodeCell,
  ICellModel,
  ICodeCellModel,
  isCodeCellModel
} from '@jupyterlab/cells';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { Marks } from './marks';
import { cellOf, findLine, marksOf } from './places';
import { IChange, INames, renamedBelow } from './renaming';
import { IRunCell, reportsOf } from './report';

const CALM = 50; // milliseconds without news, before the outputs are looked at

/** The code cells of a notebook, in order, as far as reports are concerned. */
export function runCells(panel: NotebookPanel): IRunCell[] {
  return cellModels(panel)
    .filter(isCodeCellModel)
    .map(model => {
      const outputs = [];
      for (let i = 0; i < model.outputs.length; i++) {
        outputs.push(model.outputs.get(i).data);
      }
      const text = model.sharedModel.getSource();
      return { id: model.id, count: model.executionCount, text, outputs };
    });
}

function cellModels(panel: NotebookPanel): ICellModel[] {
  return [...(panel.content.model?.cells ?? [])];
}

/** Keep the marks of a notebook what its outputs say, for as long as it is open. */
export class WatchedNotebook {
  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _marks: Marks,
    private readonly _enabled: () => boolean
  ) {
    _panel.content.modelChanged.connect(this._connect, this);
    this._connect();
    _panel.disposed.connect(() => {
      window.clearTimeout(this._timer);
    });
  }

  /** Look at the outputs as soon as they are calm. */
  later(): void {
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => {
      this._paint();
    }, CALM);
  }

  private _connect(): void {
    this._panel.content.model?.cells.changed.connect(this._connectCells, this);
    this._connectCells();
  }

  private _connectCells(): void {
    for (const model of cellModels(this._panel).filter(isCodeCellModel)) {
      // Connecting what is connected changes nothing.
      model.outputs.changed.connect(this.later, this);
      model.stateChanged.connect(this.later, this);
    }
    this.later();
  }

  private _paint(): void {
    if (this._panel.isDisposed) {
      return;
    }
    const marks = this._enabled()
      ? marksOf(runCells(this._panel))
      : new Map<string, never[]>();
    for (const model of cellModels(this._panel)) {
      this._marks.set(model.sharedModel, marks.get(model.id) ?? []);
    }
  }

  private _timer = 0;
}

/** A line of a notebook; `cell` is a cell's name, and without it and `source` the active cell is meant. */
export interface ILine {
  line: number;
  source?: string;
  cell?: string;
}

/** Put the cursor on a line; whether there is such a line. */
export async function goToLine(
  panel: NotebookPanel,
  place: ILine
): Promise<boolean> {
  const notebook = panel.content;
  const cells = runCells(panel);
  const active = cells.find(cell => cell.id === notebook.activeCell?.model.id);
  const named = place.cell
    ? cells.find(cell => cell.id === place.cell)
    : (active ?? cells[0]);
  if (!named) {
    return false;
  }
  const findings = reportsOf(named).flatMap(report => report.findings);
  const snippet = findings.find(
    ({ line, source = '' }) =>
      line === place.line && source === (place.source ?? '')
  )?.snippet;
  const meant = cellOf(place, named, cells, snippet);
  const index = notebook.widgets.findIndex(cell => cell.model.id === meant?.id);
  const cell = notebook.widgets[index];
  if (!cell) {
    return false;
  }
  notebook.activeCellIndex = index;
  await notebook.scrollToCell(cell);
  await cell.ready;
  const { editor } = cell;
  if (!editor) {
    return false;
  }
  notebook.mode = 'edit';
  const lines = editor.model.sharedModel.getSource().split('\n');
  const found = findLine(lines, place.line, snippet);
  const line = found < 0 ? Math.min(place.line, lines.length) - 1 : found;
  editor.setCursorPosition({ line, column: 0 });
  editor.revealPosition({ line, column: 0 });
  editor.focus();
  return true;
}

/** What is to be renamed in one cell: the lines as they are and as they will be, and how it is done. */
export interface IRenaming {
  count: number | null;
  lines: { number: number; before: string; after: string }[];
  apply: () => void;
}

/** The cells below a fixed one that say a name: those where it can be renamed, and how many others. */
export interface IBelow {
  renamings: IRenaming[];
  others: number;
}

/**
 * What a fix in the cell with this shared model leaves to be done in the cells below.
 *
 * The name means the fixed value until a cell binds it again; where that cannot be told, that cell
 * and those below it are left to the person.
 */
export function below(
  tracker: INotebookTracker,
  shared: object,
  names: INames,
  python: Extension
): IBelow {
  const models = tracker.currentWidget
    ? cellModels(tracker.currentWidget).filter(isCodeCellModel)
    : [];
  const at = models.findIndex(model => model.sharedModel === shared);
  const found: IBelow = { renamings: [], others: 0 };
  let isKnown = at >= 0;
  for (const model of models.slice(at + 1)) {
    const text = model.sharedModel.getSource();
    if (!says(text, names.old)) {
      continue;
    }
    const renamed = isKnown ? renamedBelow(text, python, names) : null;
    const mayBeEdited = model.getMetadata('editable') !== false;
    if (!renamed || (renamed.changes.length > 0 && !mayBeEdited)) {
      isKnown = false;
      found.others += 1;
      continue;
    }
    if (renamed.changes.length > 0) {
      found.renamings.push(renamingOf(model, renamed.changes));
    }
    if (!renamed.goesOn) {
      break;
    }
  }
  return found;
}

function says(text: string, name: string): boolean {
  const word = new RegExp(
    `(?<![\\p{L}\\p{N}_.])${name}(?![\\p{L}\\p{N}_])`,
    'u'
  );
  return word.test(text);
}

function renamingOf(model: ICodeCellModel, changes: IChange[]): IRenaming {
  const shared = model.sharedModel;
  const text = shared.getSource();
  const last = [...changes].sort((a, b) => b.from - a.from);
  const after = last.reduce(
    (now, { from, to, insert }) => now.slice(0, from) + insert + now.slice(to),
    text
  );
  const [old, now] = [text.split('\n'), after.split('\n')];
  const lines = old.flatMap((before, index) => {
    const changed = now[index] ?? '';
    return before === changed
      ? []
      : [{ number: index + 1, before, after: changed }];
  });
  const apply = () => {
    if (shared.getSource() !== text) {
      return; // edited since then
    }
    shared.transact(() => {
      for (const { from, to, insert } of last) {
        shared.updateSource(from, to, insert);
      }
    });
  };
  return { count: model.executionCount, lines, apply };
}

/** Whether a notebook is one of Python, as far as is known before its kernel is there. */
export function mayBePython(panel: NotebookPanel | null): boolean {
  const language = panel?.content.model?.defaultKernelLanguage;
  return !language || language === 'python';
}

/** The active cell, if it has Python code. */
export function activeCodeCell(tracker: INotebookTracker): CodeCell | null {
  const cell = tracker.activeCell;
  return cell instanceof CodeCell && mayBePython(tracker.currentWidget)
    ? cell
    : null;
}
