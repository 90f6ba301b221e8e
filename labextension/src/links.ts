/**
 * Line numbers in reports, which are buttons that name the command that goes there.
 */
import { INotebookTracker } from '@jupyterlab/notebook';
import { ILine } from './notebooks';

export const GO_TO_LINE = 'jaxvjp:go-to-line';
const BUTTON = `button[data-commandlinker-command="${GO_TO_LINE}"]`;

/**
 * Have the buttons in the outputs of cells go to their lines.
 *
 * JupyterLab would do that too, and in a notebook that is not trusted it asks first, for a command
 * may do anything: this one moves the cursor.
 */
export function followLinks(
  tracker: INotebookTracker,
  go: (line: ILine) => void
): void {
  document.addEventListener(
    'click',
    event => {
      const target = event.target instanceof Element ? event.target : null;
      const button = target?.closest<HTMLElement>(BUTTON);
      const cell = tracker.currentWidget?.content.widgets.find(
        one => button && one.node.contains(button)
      );
      const line = lineIn(argsOf(button?.dataset['commandlinkerArgs']));
      if (cell && line) {
        event.stopPropagation();
        go({ ...line, cell: cell.model.id });
      }
    },
    true
  );
}

/** A line, from what a button says; null where it says none. */
export function lineIn(args: object): ILine | null {
  const { line, source, cell } = args as Record<string, unknown>;
  if (!Number.isInteger(line) || Number(line) < 1) {
    return null;
  }
  return {
    line: Number(line),
    ...(typeof source === 'string' ? { source } : {}),
    ...(typeof cell === 'string' ? { cell } : {})
  };
}

function argsOf(text = ''): object {
  try {
    return Object(JSON.parse(text)) as object;
  } catch {
    return {};
  }
}
