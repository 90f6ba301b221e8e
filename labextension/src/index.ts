/**
 * vjpcheck in JupyterLab: a cell is checked by a click, and what is found is marked in the editor.
 */
import {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import {
  ICommandPalette,
  ISessionContextDialogs,
  Notification,
  SessionContextDialogs
} from '@jupyterlab/apputils';
import {
  EditorExtensionRegistry,
  IEditorExtensionRegistry
} from '@jupyterlab/codemirror';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Checker } from './checking';
import { addCommands } from './commands';
import { renameBelow } from './dialog';
import { Marks } from './marks';
import { below, WatchedNotebook } from './notebooks';
import { Settings } from './settings';

const ID = 'jaxvjp-magic:plugin';

const plugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Checks JAX rules in notebooks, and marks what is found.',
  autoStart: true,
  requires: [INotebookTracker, IEditorExtensionRegistry],
  optional: [
    ICommandPalette,
    ISettingRegistry,
    ISessionContextDialogs,
    ITranslator
  ],
  activate
};

function activate(
  app: JupyterFrontEnd,
  tracker: INotebookTracker,
  editors: IEditorExtensionRegistry,
  palette: ICommandPalette | null,
  registry: ISettingRegistry | null,
  dialogs: ISessionContextDialogs | null,
  optionalTranslator: ITranslator | null
): void {
  const translator = optionalTranslator ?? nullTranslator;
  const trans = translator.load('jaxvjp_magic');
  const settings = new Settings();
  const checker = new Checker(
    settings,
    dialogs ?? new SessionContextDialogs({ translator }),
    translator,
    trans
  );
  const marks = new Marks(trans, (cell, names, python) => {
    const left = below(tracker, cell, names, python ?? []);
    const count = left.renamings.length + left.others;
    if (count === 0) {
      return;
    }
    const show = () => {
      void renameBelow(left, names, trans);
    };
    Notification.info(
      trans._n(
        '%2 is %3 from here to the end of this cell; %1 cell below still says %2',
        '%2 is %3 from here to the end of this cell; %1 cells below still say %2',
        count,
        names.old,
        names.name
      ),
      left.renamings.length > 0
        ? { actions: [{ label: trans.__('Rename there…'), callback: show }] }
        : { autoClose: 8000 }
    );
  });

  // Cells and consoles have inline editors; a console's cells have no marks to show.
  editors.addExtension({
    name: 'jaxvjp:marks',
    factory: ({ inline, model }) =>
      inline
        ? EditorExtensionRegistry.createImmutableExtension(
            marks.extension(model.sharedModel)
          )
        : null
  });

  const watched = new Set<WatchedNotebook>();
  const watch = (panel: NotebookPanel) => {
    const notebook = new WatchedNotebook(panel, marks, () => settings.marks);
    watched.add(notebook);
    panel.disposed.connect(() => watched.delete(notebook));
  };
  tracker.forEach(watch);
  tracker.widgetAdded.connect((_, panel) => {
    watch(panel);
  });
  settings.changed.connect(() => {
    for (const notebook of watched) {
      notebook.later();
    }
  });

  // The report's widget makes buttons of places in other cells where somebody answers them.
  document.body.dataset['vjpcheckLines'] = '';
  addCommands({ app, tracker, checker, marks, settings, trans }, palette);
  if (registry) {
    settings.load(registry, ID).catch((problem: unknown) => {
      console.error('vjpcheck: the settings cannot be read', problem);
    });
  }
}

export default plugin;
