/**
 * The fix for an overwritten name: another name, from the statement that overwrites it to the end
 * of what sees it.
 */
import { ensureSyntaxTree } from '@codemirror/language';
import type { EditorState } from '@codemirror/state';
import { IRange } from './places';

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
  const changes = [{ ...range, insert: name }];
  let end = block.to; // or -1: it cannot be told
  tree.iterate({
    from: statement.to,
    to: end,
    enter: ({ node }) => {
      const isOld =
        node.name === 'VariableName' &&
        node.from >= statement.to &&
        state.sliceDoc(node.from, node.to) === old;
      const parent = node.parent;
      if (!isOld || node.from >= end || !parent) {
        return;
      }
      const isAssigned = node.nextSibling?.name === 'AssignOp';
      const isDefined = DEFINITIONS.includes(parent.name);
      if (parent.name === 'ArgList' && isAssigned) {
        return; // f(name=...): the name of a parameter
      }
      if (isDefined || (parent.name === 'AssignStatement' && isAssigned)) {
        // Bound again: from here on the name means that, and the value still means ours.
        const outer = parent.parent;
        const owner =
          outer?.name === 'DecoratedStatement' ? outer.parent : outer;
        const isHere = owner?.from === block.from && owner.to === block.to;
        end = isHere ? (isDefined ? node.from : parent.to) : -1;
      } else if (
        OTHERS.includes(parent.name) ||
        (parent.name === 'ParamList' && node.prevSibling?.name !== 'AssignOp')
      ) {
        end = -1;
      } else {
        changes.push({ from: node.from, to: node.to, insert: name });
      }
    }
  });
  return end < 0 ? null : changes;
}
