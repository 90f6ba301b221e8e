/**
 * The commands, and where they are found.
 */
import { JupyterFrontEnd } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { TranslationBundle } from '@jupyterlab/translation';
import { Checker, IRun } from './checking';
import { showSummary } from './dialog';
import { checkIcon } from './icon';
import { followLinks, GO_TO_LINE, lineIn } from './links';
import { Marks } from './marks';
import { activeCodeCell, goToLine, mayBePython, runCells } from './notebooks';
import { Settings } from './settings';
import { summaryOf } from './summary';

export const CommandIDs = {
  checkCell: 'jaxvjp:check-cell',
  checkNotebook: 'jaxvjp:check-notebook',
  toggleLine: 'jaxvjp:toggle-line',
  goToLine: GO_TO_LINE,
  applyFix: 'jaxvjp:apply-fix'
};

/** What the commands work with. */
export interface IContext {
  app: JupyterFrontEnd;
  tracker: INotebookTracker;
  checker: Checker;
  marks: Marks;
  settings: Settings;
  trans: TranslationBundle;
}

const MAGIC = /^(\s*)%%vjpcheck\b[^\n]*\n?/;

/** Register the commands. */
export function addCommands(
  context: IContext,
  palette: ICommandPalette | null
): void {
  const { app, tracker, checker, marks, settings, trans } = context;
  const isVisible = () => activeCodeCell(tracker) !== null;
  // A button belongs to its notebook, everything else to what is in front.
  const isInFront = (args: { readonly [key: string]: unknown }) =>
    args['toolbar'] === true ||
    (tracker.currentWidget !== null &&
      tracker.currentWidget === app.shell.currentWidget);
  const isEnabled = (args: { readonly [key: string]: unknown }) =>
    isInFront(args) && isVisible();

  app.commands.addCommand(CommandIDs.checkCell, {
    label: trans.__('Check Cell with vjpcheck'),
    caption: trans.__(
      'Run this cell, and check its JAX vjp and custom_vjp calls'
    ),
    icon: checkIcon,
    isEnabled,
    isVisible,
    execute: async () => {
      const panel = tracker.currentWidget;
      const cell = activeCodeCell(tracker);
      if (panel && cell) {
        await checker.checkCell(panel, cell);
      }
    }
  });

  app.commands.addCommand(CommandIDs.checkNotebook, {
    label: trans.__('Run All Cells with vjpcheck'),
    caption: trans.__(
      'Run all cells with checks, and list those with findings'
    ),
    isEnabled: args => isInFront(args) && mayBePython(tracker.currentWidget),
    execute: async () => {
      const panel = tracker.currentWidget;
      const run = panel && (await checker.checkAll(panel));
      if (run) {
        await summarise(panel, run, context);
      }
    }
  });

  app.commands.addCommand(CommandIDs.toggleLine, {
    label: trans.__('Put %%%%vjpcheck on Top of the Cell, or Take It Away'),
    isEnabled: args =>
      isEnabled(args) && activeCodeCell(tracker)?.readOnly === false,
    isVisible,
    execute: async () => {
      const panel = tracker.currentWidget;
      const shared = activeCodeCell(tracker)?.model.sharedModel;
      if (!panel || !shared) {
        return;
      }
      const magic = MAGIC.exec(shared.getSource());
      if (magic) {
        const above = magic[1]?.length ?? 0;
        shared.updateSource(above, magic[0].length, '');
        return;
      }
      shared.updateSource(0, 0, `%%vjpcheck ${settings.options}`.trim() + '\n');
      await checker.load(panel);
    }
  });

  app.commands.addCommand(CommandIDs.applyFix, {
    label: trans.__('Apply the Fix for the Line of the Cursor'),
    isEnabled,
    execute: () => {
      const cell = activeCodeCell(tracker);
      if (cell && !marks.fixAtCursor(cell.model.sharedModel)) {
        Notification.info(
          trans.__('vjpcheck: no fix on this line that is certain'),
          { autoClose: 3000 }
        );
      }
    }
  });

  app.commands.addCommand(CommandIDs.goToLine, {
    label: trans.__('Go to the Line of a Finding'),
    execute: async args => {
      const panel = tracker.currentWidget;
      const place = lineIn(args);
      if (panel && place && !(await goToLine(panel, place))) {
        Notification.info(
          trans.__('vjpcheck: %1 is not here any more', place.source ?? ''),
          { autoClose: 5000 }
        );
      }
    }
  });

  const category = trans.__('vjpcheck');
  const listed = [
    CommandIDs.checkCell,
    CommandIDs.checkNotebook,
    CommandIDs.toggleLine,
    CommandIDs.applyFix
  ];
  for (const command of listed) {
    palette?.addItem({ command, category });
  }
  const changed = () => {
    for (const command of listed) {
      app.commands.notifyCommandChanged(command);
    }
  };
  tracker.currentChanged.connect((_, panel) => {
    // A new notebook has no language before its kernel is there.
    panel?.context.model.metadataChanged.connect(changed);
    changed();
  });
  tracker.activeCellChanged.connect(changed);
  followLinks(tracker, line => {
    void app.commands.execute(CommandIDs.goToLine, { ...line });
  });
}

/** Tell which cells have findings, and go to the one that is clicked. */
async function summarise(
  panel: NotebookPanel,
  run: IRun,
  { app, trans }: IContext
): Promise<void> {
  const cells = runCells(panel);
  const { ran } = run;
  const entries = summaryOf(cells, ran);
  const stopped = cells.find(cell => cell.id === run.stopped);
  const sentences = [
    entries.length > 0
      ? trans._n(
          '%1 cell with findings',
          '%1 cells with findings',
          entries.length
        )
      : trans._n(
          'Nothing found in %1 cell',
          'Nothing found in %1 cells',
          ran.size
        ),
    stopped
      ? trans.__('an exception ended the run at In [%1]', stopped.count ?? ' ')
      : ''
  ];
  const head = sentences.filter(Boolean).join('; ');
  const picked = await showSummary(entries, head, trans);
  if (picked) {
    app.shell.activateById(panel.id);
    const { line = 1, source = '' } = picked.first;
    await goToLine(panel, { cell: picked.cell, line, source });
  }
}
