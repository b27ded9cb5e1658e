//! Bounded reading of YAML: a tree with line and column at every node.
