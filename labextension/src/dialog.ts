/**
 * The summary of a run, as a dialog: the cells with findings, and a click goes to one.
 */
import { Dialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import { ISummaryEntry } from './summary';

/** Show the summary; the entry that was clicked, or null. */
export async function showSummary(
  entries: ISummaryEntry[],
  head: string,
  trans: TranslationBundle
): Promise<ISummaryEntry | null> {
  let picked: ISummaryEntry | null = null;
  const body = new Widget();
  body.addClass('jp-vjp-summary');
  body.node.append(element('p', head));
  const list = document.createElement('ul');
  for (const entry of entries) {
    const item = document.createElement('li');
    const button = document.createElement('button');
    button.append(
      element('b', `In [${entry.number ?? ' '}]`),
      element('span', countsOf(entry, trans)),
      element('div', firstOf(entry, trans))
    );
    button.addEventListener('click', () => {
      picked = entry;
      dialog.resolve(0);
    });
    item.append(button);
    list.append(item);
  }
  body.node.append(list);
  const dialog = new Dialog({
    title: 'vjpcheck',
    body,
    buttons: [Dialog.okButton({ label: trans.__('Close') })]
  });
  await dialog.launch();
  return picked;
}

function countsOf({ counts }: ISummaryEntry, trans: TranslationBundle): string {
  const parts = [
    counts.error && trans._n('%1 error', '%1 errors', counts.error),
    counts.warning && trans._n('%1 warning', '%1 warnings', counts.warning),
    counts.note && trans._n('%1 note', '%1 notes', counts.note)
  ];
  return parts.filter(Boolean).join(', ');
}

function firstOf({ first }: ISummaryEntry, trans: TranslationBundle): string {
  const line = first.line ? trans.__('line %1', first.line) : '';
  const place = [first.source, line].filter(Boolean).join(', ');
  return [`${first.code} ${place}`.trim(), first.title]
    .filter(Boolean)
    .join(': ');
}

function element(kind: string, text: string): HTMLElement {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}
