/**
 * Findings as marks in the editors of cells: in the gutter, below the text, and on hover.
 *
 * A mark is there as long as its line reads as it did when the cell ran. It moves with its line,
 * goes when the line is edited, and is back when the edit is undone.
 */
import { Language, language } from '@codemirror/language';
import { Diagnostic, lintGutter, setDiagnostics } from '@codemirror/lint';
import { Compartment, Extension } from '@codemirror/state';
import {
  EditorView,
  PluginValue,
  ViewPlugin,
  ViewUpdate
} from '@codemirror/view';
import { TranslationBundle } from '@jupyterlab/translation';
import { findLine, IMark, rangeIn } from './places';
import { INames, renamed } from './renaming';

const SEVERITIES = {
  error: 'error',
  warning: 'warning',
  note: 'info'
} as const;

/** Called when a fix was applied: what the name was and is now, and the language of the text. */
export type Fixed = (
  cell: object,
  names: INames,
  python: Language | null
) => void;

/** The marks of all cells, and the editors that show them. Cells are known by their shared models. */
export class Marks {
  constructor(
    readonly trans: TranslationBundle,
    readonly fixed: Fixed
  ) {}

  /** What an editor needs to show the marks of this cell. */
  extension(cell: object): Extension {
    const gutter = new Compartment();
    const plugin = ViewPlugin.define(view => {
      const editor = new MarkedEditor(view, gutter, cell, this);
      this._editors.set(cell, [...this._editorsOf(cell), editor]);
      editor.show(this._marks.get(cell) ?? []);
      return editor;
    });
    return [gutter.of([]), plugin];
  }

  /** Show these marks, unless they are what is shown. */
  set(cell: object, marks: IMark[]): void {
    const before = this._marks.get(cell) ?? [];
    if (JSON.stringify(before) === JSON.stringify(marks)) {
      return;
    }
    this._marks.set(cell, marks);
    for (const editor of this._editorsOf(cell)) {
      editor.show(marks);
    }
  }

  /** An editor is gone. */
  remove(cell: object, editor: MarkedEditor): void {
    const others = this._editorsOf(cell).filter(other => other !== editor);
    this._editors.set(cell, others);
  }

  /** Apply the fix at the cursor, if there is one; whether there was. */
  fixAtCursor(cell: object): boolean {
    return this._editorsOf(cell).some(editor => editor.fixAtCursor());
  }

  private _editorsOf(cell: object): MarkedEditor[] {
    return this._editors.get(cell) ?? [];
  }

  private _marks = new WeakMap<object, IMark[]>();
  private _editors = new WeakMap<object, MarkedEditor[]>();
}

/** A mark in a text that may be edited: `at` is where its line begins, `text` how it has to read. */
interface ITracked {
  mark: IMark;
  at: number;
  text: string;
}

class MarkedEditor implements PluginValue {
  constructor(
    private readonly _view: EditorView,
    private readonly _gutter: Compartment,
    private readonly _cell: object,
    private readonly _marks: Marks
  ) {}

  show(marks: IMark[]): void {
    this._all = marks;
    this._find();
    this._later();
  }

  update(update: ViewUpdate): void {
    if (!update.docChanged) {
      return;
    }
    const all = update.startState.doc.length;
    const changed: number[] = [];
    update.changes.iterChangedRanges((from, to) => {
      changed.push(to - from);
    });
    if (all > 0 && changed.includes(all)) {
      this._find();
    } else {
      this._tracked = this._tracked.map(one => ({
        ...one,
        at: update.changes.mapPos(one.at, 1)
      }));
    }
    this._later();
  }

  destroy(): void {
    this._gone = true;
    this._marks.remove(this._cell, this);
  }

  fixAtCursor(): boolean {
    const { head } = this._view.state.selection.main;
    const line = this._view.state.doc.lineAt(head).number;
    const here = this._tracked.filter(
      one => this._view.state.doc.lineAt(one.at).number === line
    );
    return here.some(one => this._fix(one.mark));
  }

  /** Where the marks are in a text that has not been followed up to now. */
  private _find(): void {
    const { doc } = this._view.state;
    const lines = doc.toString().split('\n');
    this._tracked = [];
    for (const mark of this._all) {
      const { snippet } = mark.finding;
      const number = findLine(lines, mark.line, snippet);
      if (number >= 0) {
        const text = snippet?.text ?? lines[number] ?? '';
        this._tracked.push({ mark, at: doc.line(number + 1).from, text });
      }
    }
  }

  /** An editor takes no change while it is told of one. */
  private _later(): void {
    if (this._waiting) {
      return;
    }
    this._waiting = true;
    queueMicrotask(() => {
      this._waiting = false;
      if (!this._gone) {
        this._paint();
      }
    });
  }

  private _paint(): void {
    const visible = this._tracked.filter(one => this._lineOf(one) !== null);
    const marks = visible.map(one => one.mark);
    if (
      marks.length === this._shown.length &&
      marks.every((mark, index) => mark === this._shown[index])
    ) {
      return;
    }
    this._shown = marks;
    const { state } = this._view;
    const diagnostics = visible.map(one => this._diagnostic(one));
    const spec = setDiagnostics(state, diagnostics);
    const effects = [spec.effects ?? []].flat();
    // A gutter takes room: only cells with marks have one.
    const gutter = diagnostics.length > 0 ? lintGutter() : [];
    this._view.dispatch({
      effects: [...effects, this._gutter.reconfigure(gutter)]
    });
  }

  /** The line of a mark; null where it reads otherwise now. */
  private _lineOf({ at, text }: ITracked) {
    const { doc } = this._view.state;
    const line = doc.lineAt(Math.min(at, doc.length));
    return line.text.trimEnd() === text.trimEnd() ? line : null;
  }

  private _diagnostic(tracked: ITracked): Diagnostic {
    const { mark } = tracked;
    const { finding } = mark;
    const line = this._view.state.doc.lineAt(tracked.at);
    const range = rangeIn(line.text, finding.snippet);
    const from = Math.min(line.from + range.from, line.to);
    const to = Math.min(line.from + range.to, line.to);
    const diagnostic: Diagnostic = {
      from,
      to,
      severity: SEVERITIES[finding.severity],
      source: 'vjpcheck',
      message: [finding.code, finding.title, finding.message, finding.fix]
        .filter(Boolean)
        .join('\n'),
      renderMessage: () => this._message(mark)
    };
    if (this._changes(mark)) {
      diagnostic.actions = [
        {
          name: this._marks.trans.__('Fix it'),
          markClass: 'jp-vjp-fix',
          apply: () => {
            this._fix(mark);
          }
        }
      ];
    }
    return diagnostic;
  }

  private _message({ finding, causes }: IMark): Node {
    const { trans } = this._marks;
    const message = document.createElement('div');
    message.className = 'jp-vjp-mark';
    const words = {
      error: trans.__('error'),
      warning: trans.__('warning'),
      note: trans.__('note')
    };
    const title = paragraph(message, '');
    append(
      title,
      'b',
      `${words[finding.severity]} ${finding.code}: ${finding.title ?? ''}`
    );
    if (causes.length > 0) {
      append(
        title,
        'span',
        ` (${trans.__('follows from %1', causes.join(', '))})`,
        'jp-vjp-grey'
      );
    }
    if (finding.message) {
      paragraph(message, finding.message);
    }
    if (finding.fix) {
      const { fix: all, fix_code: code = '' } = finding;
      const words = all.endsWith(code)
        ? all.slice(0, -code.length || undefined)
        : all;
      const fix = paragraph(message, `${trans.__('fix:')} ${words}`);
      if (words !== all) {
        append(fix, 'code', code);
      }
    }
    return message;
  }

  /** What the fix of a finding changes; null where it has none that is certain. */
  private _changes(mark: IMark) {
    const name = mark.finding.new_name;
    const tracked = this._tracked.find(one => one.mark === mark);
    const line = tracked && this._lineOf(tracked);
    if (!name || !line || this._view.state.readOnly) {
      return null;
    }
    const range = rangeIn(line.text, mark.finding.snippet);
    const at = { from: line.from + range.from, to: line.from + range.to };
    const changes = renamed(this._view.state, at, name);
    return (
      changes && {
        changes,
        name,
        old: this._view.state.sliceDoc(at.from, at.to)
      }
    );
  }

  /** As one change, which one undo takes back. */
  private _fix(mark: IMark): boolean {
    const fix = this._changes(mark);
    if (!fix) {
      return false;
    }
    this._view.dispatch({ changes: fix.changes, userEvent: 'input.fix' });
    this._view.focus();
    this._marks.fixed(
      this._cell,
      { old: fix.old, name: fix.name },
      this._view.state.facet(language)
    );
    return true;
  }

  private _all: IMark[] = [];
  private _shown: IMark[] = [];
  private _tracked: ITracked[] = [];
  private _waiting = false;
  private _gone = false;
}

function paragraph(parent: Node, text: string): HTMLElement {
  return append(parent, 'p', text);
}

function append(
  parent: Node,
  kind: 'p' | 'b' | 'span' | 'code',
  text: string,
  className = ''
): HTMLElement {
  const element = document.createElement(kind);
  element.className = className;
  element.textContent = text;
  parent.appendChild(element);
  return element;
}
