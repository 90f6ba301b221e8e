/**
 * Running cells with checks, their text as it is.
 */
import { ISessionContextDialogs, Notification } from '@jupyterlab/apputils';
import { Cell, CodeCell, isCodeCellModel } from '@jupyterlab/cells';
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { Kernel } from '@jupyterlab/services';
import { ITranslator, TranslationBundle } from '@jupyterlab/translation';
import { checkEveryCell, checkNext, isPython, KernelProblem } from './kernel';
import { Settings } from './settings';

/** Which cells of a run came to their end, and the one that an exception ended the run at. */
export interface IRun {
  finished: string[];
  failed: string | null;
}

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
    this._forget(kernel);
  }

  /** Run all cells with checks; null where that could not be. */
  async checkAll(panel: NotebookPanel): Promise<IRun | null> {
    const cells = panel.content.widgets.map(cell => cell.model);
    const ids = cells.filter(isCodeCellModel).map(model => model.id);
    const kernel = await this._kernel(panel);
    if (!kernel || !(await this._ask(kernel, ids, true))) {
      return null;
    }
    const ended = new Map<string, boolean>();
    const note = (_: unknown, end: { cell: Cell; success: boolean }) => {
      ended.set(end.cell.model.id, end.success);
    };
    NotebookActions.executed.connect(note);
    try {
      await NotebookActions.runAll(
        panel.content,
        panel.sessionContext,
        this._dialogs,
        this._translator
      );
    } finally {
      NotebookActions.executed.disconnect(note);
      this._forget(kernel);
    }
    return {
      finished: ids.filter(id => ended.get(id) === true),
      failed: ids.find(id => ended.get(id) === false) ?? null
    };
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
        this._trans.__('vjpcheck: this is no Python notebook')
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
  private _forget(kernel: Kernel.IKernelConnection): void {
    checkNext(kernel, [], '', false).catch(ignore);
  }

  /** With the setting on, have the kernel check every cell, from the one that is about to run. */
  private _checkAutomatically(panel: NotebookPanel): void {
    const kernel = panel.sessionContext.session?.kernel;
    const language = panel.content.model?.defaultKernelLanguage;
    const { automatic, options } = this._settings;
    if (!automatic || !kernel || (language && language !== 'python')) {
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
    const missing = problem instanceof KernelProblem ? problem.missing : '';
    const message = problem instanceof Error ? problem.message : '';
    const text = missing
      ? this._trans.__(
          'vjpcheck: this kernel has no %1. Run %pip install %1 in a cell, and check again.',
          missing
        )
      : this._trans.__('vjpcheck: %1', message);
    Notification.error(text, { autoClose: false });
  }

  private _known = new WeakMap<Kernel.IKernelConnection, string>();
  private _followed = new WeakSet<Kernel.IKernelConnection>();
  private _automatic = new Map<Kernel.IKernelConnection, string>();
}

/** A kernel that has gone away has nothing to forget. */
function ignore(problem: unknown): void {
  console.debug('vjpcheck:', problem);
}
