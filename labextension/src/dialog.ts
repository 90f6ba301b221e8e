/**
 * Dialogs: the summary of a run, where a click goes to a finding, and what a fix changes below.
 */
import { Dialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import { IBelow } from './notebooks';
import { INames } from './renaming';
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

/** Show which lines of the cells below change with a name, and change them if that is wanted. */
export async function renameBelow(
  { renamings, others }: IBelow,
  { old, name }: INames,
  trans: TranslationBundle
): Promise<void> {
  const body = new Widget();
  body.addClass('jp-vjp-renaming');
  for (const { count, lines } of renamings) {
    body.node.append(element('b', `In [${count ?? ' '}]`));
    for (const { number, before, after } of lines) {
      const line = element('pre', '');
      line.append(
        element('span', trans.__('line %1', number)),
        element('del', before),
        element('ins', after)
      );
      body.node.append(line);
    }
  }
  if (others > 0) {
    const told = trans._n(
      '%1 cell more says %2, and may mean something else: look at it yourself.',
      '%1 cells more say %2, and may mean something else: look at them yourself.',
      others,
      old
    );
    body.node.append(element('p', told));
  }
  const dialog = new Dialog({
    title: trans.__('%1 becomes %2 in the cells below', old, name),
    body,
    buttons: [
      Dialog.cancelButton(),
      Dialog.okButton({ label: trans.__('Rename') })
    ]
  });
  const { button } = await dialog.launch();
  if (button.accept) {
    for (const { apply } of renamings) {
      apply();
    }
  }
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
