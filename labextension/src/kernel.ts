/**
 * What the kernel is asked to do: the half of this is jaxvjp_magic/notebook/lab_api.py.
 */
import type { Kernel } from '@jupyterlab/services';

const MODULE = 'jaxvjp_magic.notebook.lab_api';

/**
 * Why a kernel cannot check a cell: `missing` is the Python package that it does not have, `kind`
 * the type of its exception.
 */
export class KernelProblem extends Error {
  constructor(
    message: string,
    readonly missing = '',
    readonly kind = ''
  ) {
    super(message);
  }
}

/** An exception or an interrupt of an earlier cell took this request along, as it does cells. */
export class Aborted extends Error {}

/** Whether what this kernel runs is Python. */
export async function isPython(
  kernel: Kernel.IKernelConnection
): Promise<boolean> {
  const info = await kernel.info;
  return info.language_info.name === 'python';
}

/** Check these cells when they run next, and forget those that were asked for before. */
export function checkNext(
  kernel: Kernel.IKernelConnection,
  cells: readonly string[],
  options: string,
  quiet: boolean
): Promise<void> {
  const ids = JSON.stringify(cells);
  const call = `check_next(${ids}, ${JSON.stringify(options)}, quiet=${quiet ? 'True' : 'False'})`;
  return ask(kernel, call);
}

/** Check every cell from here on; null ends that. */
export function checkEveryCell(
  kernel: Kernel.IKernelConnection,
  options: string | null
): Promise<void> {
  const argument = options === null ? 'None' : JSON.stringify(options);
  return ask(kernel, `check_every_cell(${argument})`);
}

/**
 * Have a call made in the kernel, before whatever is run after this.
 *
 * An expression beside a request without code leaves the session as it is: no name, no history,
 * no number, no message that anything has run.
 */
async function ask(
  kernel: Kernel.IKernelConnection,
  call: string
): Promise<void> {
  const future = kernel.requestExecute({
    code: '',
    silent: true,
    store_history: false,
    stop_on_error: false,
    allow_stdin: false,
    user_expressions: {
      vjpcheck: `__import__(${JSON.stringify(MODULE)}, fromlist=['_']).${call}`
    }
  });
  const reply = await future.done;
  if (reply.content.status === 'aborted') {
    throw new Aborted();
  }
  if (reply.content.status !== 'ok') {
    throw new KernelProblem(reply.content.status);
  }
  const answer = reply.content.user_expressions['vjpcheck'];
  const problem = problemIn(answer);
  if (problem) {
    throw problem;
  }
}

/** What went wrong, by the answer to an expression; null where nothing did. */
export function problemIn(answer: unknown): KernelProblem | null {
  if (typeof answer !== 'object' || answer === null) {
    return new KernelProblem('');
  }
  const { status, ename, evalue } = answer as Record<string, unknown>;
  if (status === 'ok') {
    return null;
  }
  const text = typeof evalue === 'string' ? evalue : '';
  const missing =
    ename === 'ModuleNotFoundError'
      ? /^No module named '([\w.]+)'/.exec(text)?.[1]
      : undefined;
  return new KernelProblem(
    text || String(ename),
    missing?.split('.')[0],
    String(ename)
  );
}
