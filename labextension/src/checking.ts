/**
 * Running cells with checks, their text as it is.
 */
import { ISessionContextDialogs, Notification } from '@jupyterlab/apputils';
import { Cell, CodeCell, isCodeCellModel } from '@jupyterlab/cells';
import {
  KernelError,
  Notebook,
  NotebookActions,
  NotebookPanel
} from '@jupyterlab/notebook';
import { Kernel } from '@jupyterlab/services';
import { ITranslator, TranslationBundle } from '@jupyterlab/translation';
import {
  Aborted,
  checkEveryCell,
  checkNext,
  isPython,
  KernelProblem
} from './kernel';
import { mayBePython, runCells } from './notebooks';
import { Settings } from './settings';

/** Which cells of a run have run, and the one that an exception ended the run at. */
export interface IRun {
  ran: Set<string>;
  stopped: string | null;
}

/** What is told of a cell that has come to its end. */
interface IEnd {
  notebook: Notebook;
  cell: Cell;
  success: boolean;
  error?: KernelError | null;
}

const GOES_ON = 'raises-exception'; // the tag of cells whose exceptions do not end a run
const FORGETTING = 3; // attempts

export class Checker {
  constructor(
    private readonly _settings: Settings,
    private readonly _dialogs: ISessionContextDialogs,
    private readonly _translator: ITranslator,
    private readonly _trans: TranslationBundle
  ) {
    NotebookActions.executionScheduled.connect((_, { notebook }) => {
      const panel = notebook.parent;
      if (panel instanceof NotebookPanel) {
        this._checkAutomatically(panel);
      }
    });
    _settings.changed.connect(() => {
      this._settingsChanged();
    });
  }

  /** Run a cell with a check. */
  async checkCell(panel: NotebookPanel, cell: CodeCell): Promise<void> {
    const kernel = await this._kernel(panel);
    if (!kernel || !(await this._ask(kernel, [cell.model.id], false))) {
      return;
    }
    await NotebookActions.runCells(
      panel.content,
      [cell],
      panel.sessionContext,
      this._dialogs,
      this._translator
    );
    void this._forget(kernel);
  }

  /** Run all cells with checks; null where that could not be, or was cut off. */
  async checkAll(panel: NotebookPanel): Promise<IRun | null> {
    const ids = runCells(panel).map(cell => cell.id);
    const kernel = await this._kernel(panel);
    if (!kernel || !(await this._ask(kernel, ids, true))) {
      return null;
    }
    const run: IRun = { ran: new Set(), stopped: null };
    const ended = new Set<string>();
    const note = (_: unknown, { notebook, cell, success, error }: IEnd) => {
      const { model } = cell;
      if (notebook !== panel.content || !isCodeCellModel(model)) {
        return;
      }
      ended.add(model.id);
      const raised = !success && Boolean(error?.errorName); // else it has not run
      if (success || raised) {
        run.ran.add(model.id);
      }
      const tags = model.getMetadata('tags') as unknown;
      if (raised && !(Array.isArray(tags) && tags.includes(GOES_ON))) {
        run.stopped = model.id;
      }
    };
    NotebookActions.executed.connect(note);
    try {
      await NotebookActions.runAll(
        panel.content,
        panel.sessionContext,
        this._dialogs,
        this._translator
      );
      // That is over at the first exception, though cells may still run: this waits in the same queue.
      await this._forget(kernel);
    } finally {
      NotebookActions.executed.disconnect(note);
    }
    const isWhole =
      !panel.isDisposed &&
      runCells(panel).every(({ id }) => ended.has(id) || !ids.includes(id));
    return isWhole ? run : null; // a restart of the kernel leaves cells without an end
  }

  /** Load the kernel's part, for a cell that is going to ask for its check itself. */
  async load(panel: NotebookPanel): Promise<void> {
    const kernel = panel.sessionContext.session?.kernel;
    if (kernel && (await isPython(kernel))) {
      await this._ask(kernel, [], false);
    }
  }

  /** The kernel of a Python notebook, which a person may have to choose first. */
  private async _kernel(
    panel: NotebookPanel
  ): Promise<Kernel.IKernelConnection | null> {
    const { sessionContext } = panel;
    await sessionContext.ready;
    if (!sessionContext.session?.kernel) {
      await this._dialogs.selectKernel(sessionContext);
    }
    const kernel = sessionContext.session?.kernel;
    if (kernel && !(await isPython(kernel))) {
      Notification.warning(
        this._trans.__('vjpcheck: this is not a Python notebook')
      );
      return null;
    }
    return kernel ?? null;
  }

  /**
   * Have cells checked when they run next; whether they are going to be.
   *
   * A kernel that has answered once is not waited for: the cell is in its queue at once.
   */
  private async _ask(
    kernel: Kernel.IKernelConnection,
    cells: string[],
    quiet: boolean
  ): Promise<boolean> {
    const { options } = this._settings;
    const answer = checkNext(kernel, cells, options, quiet).then(
      () => {
        this._known.set(kernel, options);
        return true;
      },
      (problem: unknown) => {
        this._known.delete(kernel);
        this._tell(problem);
        return false;
      }
    );
    return this._known.get(kernel) === options ? true : answer;
  }

  /** Cells that an exception or an interrupt kept from running are not checked some other time. */
  private async _forget(kernel: Kernel.IKernelConnection): Promise<void> {
    for (let attempt = 0; attempt < FORGETTING; attempt++) {
      try {
        await checkNext(kernel, [], '', false);
        return;
      } catch (problem) {
        ignore(problem);
        if (!(problem instanceof Aborted)) {
          return; // a kernel that has gone away has nothing to forget
        }
      }
    }
  }

  /** With the setting on, have the kernel check every cell, from the one that is about to run. */
  private _checkAutomatically(panel: NotebookPanel): void {
    const kernel = panel.sessionContext.session?.kernel;
    const { automatic, options } = this._settings;
    if (!automatic || !kernel || !mayBePython(panel)) {
      return;
    }
    if (!this._followed.has(kernel)) {
      this._followed.add(kernel);
      kernel.statusChanged.connect((_, status) => {
        if (status === 'restarting' || status === 'autorestarting') {
          this._automatic.delete(kernel);
        }
      });
      kernel.disposed.connect(() => {
        this._automatic.delete(kernel);
      });
    }
    if (this._automatic.get(kernel) !== options) {
      this._automatic.set(kernel, options);
      // A kernel without jaxvjp_magic runs its cells as ever; wrong options are told of.
      checkEveryCell(kernel, options).catch((problem: unknown) => {
        if (!(problem instanceof KernelProblem && problem.missing)) {
          this._tell(problem);
        }
      });
    }
  }

  private _settingsChanged(): void {
    if (this._settings.automatic) {
      return; // each kernel is told when its next cell runs
    }
    for (const kernel of this._automatic.keys()) {
      checkEveryCell(kernel, null).catch(ignore);
    }
    this._automatic.clear();
  }

  private _tell(problem: unknown): void {
    const message = problem instanceof Error ? problem.message : '';
    if (problem instanceof Aborted || message.startsWith('Canceled')) {
      return; // what has become of the kernel is plain to see
    }
    const { missing, kind } =
      problem instanceof KernelProblem ? problem : { missing: '', kind: '' };
    let text = this._trans.__(
      'vjpcheck: %1',
      message || this._trans.__('the kernel gave no answer')
    );
    if (missing) {
      text = this._trans.__(
        'vjpcheck: this kernel has no %1. Run %pip install %1 in a cell, and check again.',
        missing
      );
    } else if (kind === 'UsageError') {
      text = this._trans.__('vjpcheck: Options in the settings: %1', message);
    }
    Notification.dismiss(this._told); // the last one is enough
    this._told = Notification.error(text, { autoClose: false });
  }

  private _told = '';

  private _known = new WeakMap<Kernel.IKernelConnection, string>();
  private _followed = new WeakSet<Kernel.IKernelConnection>();
  private _automatic = new Map<Kernel.IKernelConnection, string>();
}

function ignore(problem: unknown): void {
  console.debug('vjpcheck:', problem);
}
