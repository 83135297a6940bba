//! The leaves of a render: which input value each byte of input came from.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::text::{LEAF, LITERAL, Origin};

/// Table entries beyond this go to their parent: still the right message, only less exact.
const MAX_NODES: usize = 100_000;
const NO_MESSAGE: u32 = u32::MAX;

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

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'t> {
    Root,
    Key(&'t str),
    Index(u32),
}

#[derive(Debug, Clone, Copy)]
struct Node<'t> {
    parent: u32,
    message: u32,
    kind: LeafKind,
    step: Step<'t>,
}

/// Leaves met while rendering. Entry i below the number of messages is message i itself.
#[derive(Debug, Default)]
pub(crate) struct Leaves<'t> {
    nodes: Vec<Node<'t>>,
    messages: u32,
    on: bool,
}

impl<'t> Leaves<'t> {
    pub(crate) fn new(on: bool, messages: usize) -> Self {
        // Message identity is needed for owners, but only when tracing.
        let messages = if on { messages as u32 } else { 0 };
        let root = |message| Node {
            parent: message,
            message,
            kind: LeafKind::Message,
            step: Step::Root,
        };
        let mut nodes = Vec::new();
        if on {
            // A role and a content asked for about twice each: most renders need no more.
            nodes.reserve(messages as usize * 5 + 8);
            nodes.extend((0..messages).map(root));
        }
        Self {
            nodes,
            messages,
            on,
        }
    }

    pub(crate) fn message_count(&self) -> usize {
        self.messages as usize
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
        self.push(Node {
            parent,
            message: NO_MESSAGE,
            kind,
            step: Step::Key(name),
        })
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
        let node = *self.node(parent);
        // Tools and variables are told apart as wholes only: no mask depends on more.
        if !matches!(node.kind, LeafKind::Message) || self.nodes.len() >= MAX_NODES {
            return parent;
        }
        let is_role = matches!(step, Step::Key("role")) && (parent & !LEAF) < self.messages;
        let kind = if is_role {
            LeafKind::Role
        } else {
            LeafKind::Message
        };
        self.push(Node {
            parent: parent & !LEAF,
            message: node.message,
            kind,
            step,
        })
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
        self.push(Node {
            parent,
            message,
            kind: LeafKind::Mixed,
            step: Step::Root,
        })
    }

    /// Whether two origins are the same field of the same input.
    pub(crate) fn same_leaf(&self, a: Origin, b: Origin) -> bool {
        let (mut a, mut b) = (a & !LEAF, b & !LEAF);
        while a != b {
            let (x, y) = (&self.nodes[a as usize], &self.nodes[b as usize]);
            if x.message != y.message {
                return false;
            }
            let step = match (x.step, y.step) {
                (Step::Key(x), Step::Key(y)) => x == y,
                (Step::Index(x), Step::Index(y)) => x == y,
                _ => false, // two roots, or mixed values
            };
            if !step || x.kind != y.kind || x.parent == a || y.parent == b {
                return false;
            }
            (a, b) = (x.parent, y.parent);
        }
        true
    }

    /// The public description of a leaf.
    pub(crate) fn describe(&self, origin: Origin) -> Leaf {
        let node = self.node(origin);
        let message = Some(node.message).filter(|message| *message != NO_MESSAGE);
        if let Step::Key(key) = node.step
            && (node.parent) < self.messages
            && let Some(path) = COMMON.iter().find(|path| **path == key)
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
