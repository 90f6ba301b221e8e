/**
 * The fix for an overwritten name: another name, from the statement that overwrites it to the end
 * of what sees it, in the cells below, too.
 */
import { ensureSyntaxTree } from '@codemirror/language';
import { EditorState, Extension } from '@codemirror/state';
import { IRange } from './places';

type Tree = NonNullable<ReturnType<typeof ensureSyntaxTree>>;
type SyntaxNode = Tree['topNode'];

const LONGEST_PARSE = 500; // milliseconds
const DEFINITIONS = ['FunctionDefinition', 'ClassDefinition'];
const OTHERS = ['ImportStatement', 'ScopeStatement']; // where a name is none of a value here

/** A part of the text, and what stands there instead. */
export interface IChange extends IRange {
  insert: string;
}

/**
 * The changes that give the name at `range`, which a statement overwrites, another name.
 *
 * What follows the statement meant what the statement made; what stands before it, the function's
 * rules above all, meant the function. Null where that cannot be told: in a loop or below an `if`,
 * for an attribute, where something else gets the same name in some inner part, where the text
 * does not parse.
 */
export function renamed(
  state: EditorState,
  range: IRange,
  name: string
): IChange[] | null {
  const old = state.sliceDoc(range.from, range.to);
  const tree = ensureSyntaxTree(state, state.doc.length, LONGEST_PARSE);
  const target = tree?.resolveInner(range.from, 1);
  const statement = target?.parent;
  const block = statement?.parent;
  if (
    !tree ||
    target?.name !== 'VariableName' ||
    target.to !== range.to ||
    statement?.name !== 'AssignStatement' ||
    !(block?.name === 'Script' || block?.parent?.name === 'FunctionDefinition')
  ) {
    return null;
  }
  const rest = renamedIn(state, tree, block, statement.to, { old, name });
  return rest && [{ ...range, insert: name }, ...rest.changes];
}

/** What is renamed in a cell below; `goesOn` where the name means the same in the next one. */
export interface IRenamed {
  changes: IChange[];
  goesOn: boolean;
}

/** The changes in a cell below the one that was fixed; null where it cannot be told. */
export function renamedBelow(
  text: string,
  python: Extension,
  names: INames
): IRenamed | null {
  const state = EditorState.create({ doc: text, extensions: [python] });
  const tree = ensureSyntaxTree(state, state.doc.length, LONGEST_PARSE);
  return tree && renamedIn(state, tree, tree.topNode, 0, names);
}

/** Whether a sibling of this kind stands behind it: then it is on the left of it. */
function isAfter(node: SyntaxNode, kind: string): boolean {
  let next = node.nextSibling;
  while (next && next.name !== kind) {
    next = next.nextSibling;
  }
  return next !== null;
}

/** Whether a loop, a comprehension, `with`, `except`, `:=` or `+=` gives the name a value. */
function isBoundInside(node: SyntaxNode): boolean {
  const parent = node.parent?.name ?? '';
  if (node.prevSibling?.name === 'as') {
    return true;
  }
  if (['NamedExpression', 'UpdateStatement'].includes(parent)) {
    return isAfter(node, 'AssignOp') || isAfter(node, 'UpdateOp');
  }
  let before = node.prevSibling;
  while (before && before.name !== 'in' && before.name !== 'for') {
    before = before.prevSibling;
  }
  return before?.name === 'for';
}

/** What a value was called, and what it is called now. */
export interface INames {
  old: string;
  name: string;
}

/** The changes in a block of statements from a place on; null where it cannot be told. */
function renamedIn(
  state: EditorState,
  tree: Tree,
  block: SyntaxNode,
  start: number,
  { old, name }: INames
): IRenamed | null {
  const changes: IChange[] = [];
  let end = block.to; // or -1: it cannot be told
  let goesOn = true;
  tree.iterate({
    from: start,
    to: end,
    enter: ({ node }) => {
      const isOld =
        node.name === 'VariableName' &&
        node.from >= start &&
        state.sliceDoc(node.from, node.to) === old;
      const parent = node.parent;
      if (!isOld || node.from >= end || !parent) {
        return;
      }
      const isAssigned = node.nextSibling?.name === 'AssignOp';
      const isTarget = isAfter(node, 'AssignOp');
      const isDefined = DEFINITIONS.includes(parent.name);
      if (parent.name === 'ArgList' && isAssigned) {
        return; // f(name=...): the name of a parameter
      }
      if (isDefined || (parent.name === 'AssignStatement' && isTarget)) {
        // Bound again: from here on the name means that, and the value still means ours.
        const outer = parent.parent;
        const owner =
          outer?.name === 'DecoratedStatement' ? outer.parent : outer;
        const isHere = owner?.from === block.from && owner.to === block.to;
        goesOn = false;
        end = isHere ? (isDefined ? node.from : parent.to) : -1;
      } else if (
        OTHERS.includes(parent.name) ||
        isBoundInside(node) ||
        (parent.name === 'ParamList' && node.prevSibling?.name !== 'AssignOp')
      ) {
        end = -1;
      } else {
        changes.push({ from: node.from, to: node.to, insert: name });
      }
    }
  });
  return end < 0 ? null : { changes, goesOn };
}
