// Numbers for modules by their order: the usual ones depend on where the builder is installed, and what is
// built is kept in the repository, where it has to be the same wherever it is built.
module.exports = { optimization: { moduleIds: 'natural' } };
