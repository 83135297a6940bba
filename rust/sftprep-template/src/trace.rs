//! The leaves of a render: which input value each byte of input came from.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::data::same_word;
use crate::text::{LEAF, LITERAL, Origin};

/// Table entries beyond this go to their parent: still the right message, only less exact.
const MAX_NODES: usize = 100_000;
const NO_MESSAGE: u32 = u32::MAX;
/// No such node.
const NONE: u32 = u32::MAX;
/// Children of a node that are compared before a field gets another entry: enough for every
/// field of a message, and long lists do not take quadratic time.
const MAX_SIBLINGS: usize = 16;

/// Which part of the request a leaf belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeafKind {
    /// A field of a message.
    Message,
    /// The `role` of a message, printed as text.
    Role,
    /// The tool schemas.
    Tools,
    /// The documents.
    Documents,
    /// A template variable passed by the caller.
    Kwarg,
    /// Several inputs that no exact rule tells apart.
    Mixed,
}

/// One input value that reached the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Which part of the request.
    pub kind: LeafKind,
    /// The message, if it came from one.
    pub message: Option<u32>,
    /// The path inside that part, such as `tool_calls[0].function.arguments.city`.
    pub path: Cow<'static, str>,
}

/// Paths of most leaves, so that naming them takes no memory.
const COMMON: [&str; 5] = [
    "content",
    "role",
    "reasoning_content",
    "thinking",
    "tool_call_id",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'t> {
    Root,
    Key(&'t str),
    Index(u32),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'t> {
    parent: u32,
    message: u32,
    /// The child made last, and the one that its parent made before this.
    child: u32,
    sibling: u32,
    /// Its number in the table of the result.
    leaf: u32,
    kind: LeafKind,
    step: Step<'t>,
}

impl<'t> Node<'t> {
    fn new(parent: u32, message: u32, kind: LeafKind, step: Step<'t>) -> Self {
        Self {
            parent,
            message,
            child: NONE,
            sibling: NONE,
            leaf: NONE,
            kind,
            step,
        }
    }
}

/// Leaves met while rendering. Entry i below the number of messages is message i itself.
#[derive(Debug, Default)]
pub(crate) struct Leaves<'t> {
    nodes: Vec<Node<'t>>,
    messages: u32,
    on: bool,
}

impl<'t> Leaves<'t> {
    /// `nodes`: empty, for its memory.
    pub(crate) fn new(on: bool, messages: usize, mut nodes: Vec<Node<'t>>) -> Self {
        // Message identity is needed for owners, but only when tracing.
        let messages = if on { messages as u32 } else { 0 };
        nodes.extend((0..messages).map(|m| Node::new(m, m, LeafKind::Message, Step::Root)));
        Self {
            nodes,
            messages,
            on,
        }
    }

    /// A bound on the leaves that occur in the text.
    pub(crate) fn most(&self) -> usize {
        self.nodes.len() - self.messages as usize
    }

    pub(crate) fn into_nodes(self) -> Vec<Node<'t>> {
        self.nodes
    }

    /// The origin of message `index` as a whole.
    pub(crate) fn message(&self, index: usize) -> Origin {
        if self.on {
            LEAF | index as u32
        } else {
            LITERAL
        }
    }

    /// A root that is not a message.
    pub(crate) fn root(&mut self, kind: LeafKind, name: &'t str) -> Origin {
        if !self.on {
            return LITERAL;
        }
        let parent = self.nodes.len() as u32;
        self.push(Node::new(parent, NO_MESSAGE, kind, Step::Key(name)))
    }

    fn push(&mut self, node: Node<'t>) -> Origin {
        self.nodes.push(node);
        LEAF | (self.nodes.len() as u32 - 1)
    }

    fn node(&self, origin: Origin) -> &Node<'t> {
        &self.nodes[(origin & !LEAF) as usize]
    }

    /// The origin of a value inside the container of origin `parent`.
    #[inline]
    pub(crate) fn child(&mut self, parent: Origin, step: Step<'t>) -> Origin {
        if parent & LEAF == 0 {
            return parent;
        }
        self.child_node(parent, step)
    }

    fn child_node(&mut self, parent: Origin, step: Step<'t>) -> Origin {
        let index = parent & !LEAF;
        let node = &self.nodes[index as usize];
        // Tools and variables are told apart as wholes only: no mask depends on more.
        if !matches!(node.kind, LeafKind::Message) {
            return parent;
        }
        let (message, newest) = (node.message, node.child);
        let mut known = newest;
        for _ in 0..MAX_SIBLINGS {
            let Some(node) = self.nodes.get(known as usize) else {
                break;
            };
            let same = match (node.step, step) {
                (Step::Key(known), Step::Key(key)) => same_word(known, key),
                (known, step) => known == step,
            };
            if same {
                return LEAF | known;
            }
            known = node.sibling;
        }
        if self.nodes.len() >= MAX_NODES {
            return parent;
        }
        let is_role = index < self.messages && matches!(step, Step::Key("role"));
        let kind = if is_role {
            LeafKind::Role
        } else {
            LeafKind::Message
        };
        let made = Node {
            sibling: newest,
            ..Node::new(index, message, kind, step)
        };
        self.nodes[index as usize].child = self.nodes.len() as u32;
        self.push(made)
    }

    /// Whether values inside of one of this origin are not told apart from it.
    pub(crate) fn is_whole(&self, origin: Origin) -> bool {
        origin & LEAF == 0 || !matches!(self.node(origin).kind, LeafKind::Message)
    }

    /// The index of the message whose root has this origin.
    pub(crate) fn root_message(&self, origin: Origin) -> Option<u32> {
        (origin & LEAF != 0 && (origin & !LEAF) < self.messages).then_some(origin & !LEAF)
    }

    /// The message that a value of this origin came from.
    pub(crate) fn message_of(&self, origin: Origin) -> Option<u32> {
        if origin & LEAF == 0 {
            return None;
        }
        Some(self.node(origin).message).filter(|message| *message != NO_MESSAGE)
    }

    /// The origin of a value computed from two.
    pub(crate) fn mix(&mut self, left: Origin, right: Origin) -> Origin {
        if right & LEAF == 0 || left == right {
            return left;
        }
        if left & LEAF == 0 {
            return right;
        }
        let (a, b) = (self.node(left).message, self.node(right).message);
        let message = if a == b { a } else { NO_MESSAGE };
        if self.nodes.len() >= MAX_NODES && message != NO_MESSAGE {
            return left;
        }
        let parent = self.nodes.len() as u32;
        self.push(Node::new(parent, message, LeafKind::Mixed, Step::Root))
    }

    /// The number of an origin's leaf in `table`, which gets an entry for a new one.
    pub(crate) fn number(&mut self, origin: Origin, table: &mut Vec<Leaf>) -> u32 {
        let index = (origin & !LEAF) as usize;
        let known = self.nodes[index].leaf;
        if known != NONE {
            return known;
        }
        let number = table.len() as u32;
        self.nodes[index].leaf = number;
        table.push(self.describe(origin));
        number
    }

    /// The public description of a leaf.
    fn describe(&self, origin: Origin) -> Leaf {
        let node = self.node(origin);
        let message = Some(node.message).filter(|message| *message != NO_MESSAGE);
        if let Step::Key(key) = node.step
            && (node.parent) < self.messages
            && let Some(path) = COMMON.iter().find(|path| same_word(path, key))
        {
            return Leaf {
                kind: node.kind,
                message,
                path: Cow::Borrowed(path),
            };
        }
        let mut steps = Vec::new();
        let mut index = origin & !LEAF;
        loop {
            let node = &self.nodes[index as usize];
            steps.push(node.step);
            if node.parent == index {
                break;
            }
            index = node.parent;
        }
        let mut path = String::new();
        for step in steps.iter().rev() {
            match step {
                Step::Root => {}
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => {
                    path.push('.');
                    path.push_str(key);
                }
                Step::Index(index) => {
                    let _ = write!(path, "[{index}]");
                }
            }
        }
        Leaf {
            kind: node.kind,
            message,
            path: Cow::Owned(path),
        }
    }
}
