//! The leaves of a render: which input value each byte of input came from.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::data::{Data, Map, same_word};
use crate::messages::Conversation;
use crate::text::{LEAF, LITERAL, Origin};

/// Table entries beyond this go to their parent: still the right message, only less exact.
const MAX_NODES: usize = 100_000;
/// Marks the origin of a message or of one of its first fields, which need no table entry: nearly
/// all that a chat template prints. The number of the message stands above [`FIELD_BITS`] bits
/// with the place of the field in the message, or [`WHOLE`].
const PLACE: Origin = 1 << 30;
const FIELD_BITS: u32 = 3;
const WHOLE: Origin = (1 << FIELD_BITS) - 1;
const MESSAGE: Origin = LEAF | PLACE | WHOLE;
/// Messages beyond this have no place.
pub(crate) const MAX_MESSAGES: usize = 1 << (30 - FIELD_BITS);
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
const COMMON_ROLE: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'t> {
    Root,
    Key(&'t str),
    Index(u32),
}

/// An input value that is no place of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'t> {
    /// The origin of what it is in; its own for what is in nothing.
    parent: Origin,
    message: u32,
    links: Links,
    /// The child that its parent made before this.
    sibling: u32,
    kind: LeafKind,
    step: Step<'t>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Links {
    /// The number in the table of the result.
    leaf: u32,
    /// The child made last.
    child: u32,
}

const UNLINKED: Links = Links {
    leaf: NONE,
    child: NONE,
};

/// Leaves met while rendering.
#[derive(Debug)]
pub(crate) struct Leaves<'t> {
    conversation: &'t Conversation<'t>,
    /// Of each place of each message.
    places: Vec<Links>,
    nodes: Vec<Node<'t>>,
}

/// Memory of [`Leaves`].
pub(crate) type Tables<'t> = (Vec<Links>, Vec<Node<'t>>);

/// The origin of message `index` as a whole.
#[inline]
pub(crate) fn message_origin(index: usize) -> Origin {
    LEAF | PLACE | (index as u32) << FIELD_BITS | WHOLE
}

fn is_place(origin: Origin) -> bool {
    origin & PLACE != 0
}

impl<'t> Leaves<'t> {
    /// `tables`: empty, for their memory.
    pub(crate) fn new(conversation: &'t Conversation<'t>, tables: Tables<'t>) -> Self {
        let (mut places, nodes) = tables;
        if conversation.traced {
            places.resize(conversation.messages.len() << FIELD_BITS, UNLINKED);
        }
        Self {
            conversation,
            places,
            nodes,
        }
    }

    pub(crate) fn into_tables(self) -> Tables<'t> {
        (self.places, self.nodes)
    }

    /// A root that is not a message.
    pub(crate) fn root(&mut self, kind: LeafKind, name: &'t str) -> Origin {
        if !self.conversation.traced {
            return LITERAL;
        }
        self.push_root(NO_MESSAGE, kind, Step::Key(name))
    }

    fn push_root(&mut self, message: u32, kind: LeafKind, step: Step<'t>) -> Origin {
        let origin = LEAF | self.nodes.len() as u32;
        self.nodes.push(Node {
            parent: origin,
            message,
            links: UNLINKED,
            sibling: NONE,
            kind,
            step,
        });
        origin
    }

    fn node(&self, origin: Origin) -> &Node<'t> {
        &self.nodes[(origin & !LEAF) as usize]
    }

    /// The message of a place, and the field there unless it is the message as a whole.
    fn place(&self, origin: Origin) -> (u32, Option<&'t str>) {
        let message = (origin & !MESSAGE) >> FIELD_BITS;
        let given: Option<&'t Data> = self.conversation.messages.get(message as usize).copied();
        let field = given
            .and_then(Data::as_map)
            .and_then(|map| map.at((origin & WHOLE) as usize));
        let key = field.map(|(key, _)| &**key);
        (message, key.filter(|_| origin & WHOLE != WHOLE))
    }

    fn kind(&self, origin: Origin) -> LeafKind {
        if is_place(origin) {
            match self.place(origin).1 {
                Some("role") => LeafKind::Role,
                _ => LeafKind::Message,
            }
        } else {
            self.node(origin).kind
        }
    }

    fn links(&mut self, origin: Origin) -> &mut Links {
        if is_place(origin) {
            &mut self.places[(origin & !(LEAF | PLACE)) as usize]
        } else {
            &mut self.nodes[(origin & !LEAF) as usize].links
        }
    }

    /// The origin of the entry at `at` of the object of origin `parent`.
    #[inline]
    pub(crate) fn entry(&mut self, parent: Origin, at: usize, key: &'t str) -> Origin {
        if parent & MESSAGE == MESSAGE && at < WHOLE as usize {
            return parent - WHOLE + at as u32;
        }
        self.child(parent, Step::Key(key))
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
        let is_message = parent & MESSAGE == MESSAGE;
        if is_message
            && let Step::Key(key) = step
            && let Some(at) = self.field_at(parent, key)
        {
            return parent - WHOLE + at;
        }
        // Tools and variables are told apart as wholes only: no mask depends on more.
        if !matches!(self.kind(parent), LeafKind::Message) {
            return parent;
        }
        let newest = self.links(parent).child;
        if let Some(known) = self.find_child(newest, step) {
            return LEAF | known;
        }
        if self.nodes.len() >= MAX_NODES {
            return parent;
        }
        let kind = if is_message && step == Step::Key("role") {
            LeafKind::Role
        } else {
            LeafKind::Message
        };
        let index = self.nodes.len() as u32;
        let message = self.message_of(parent).unwrap_or(NO_MESSAGE);
        self.links(parent).child = index;
        self.nodes.push(Node {
            parent,
            message,
            links: UNLINKED,
            sibling: newest,
            kind,
            step,
        });
        LEAF | index
    }

    /// The place of a field of a message, if it has one.
    fn field_at(&self, message: Origin, key: &str) -> Option<u32> {
        let (index, _) = self.place(message);
        let map: &Map = self.conversation.messages.get(index as usize)?.as_map()?;
        let (at, _) = map.find(key)?;
        (at < WHOLE as usize).then_some(at as u32)
    }

    fn find_child(&self, newest: u32, step: Step<'t>) -> Option<u32> {
        let mut known = newest;
        for _ in 0..MAX_SIBLINGS {
            let node = self.nodes.get(known as usize)?;
            let same = match (node.step, step) {
                (Step::Key(known), Step::Key(key)) => same_word(known, key),
                (known, step) => known == step,
            };
            if same {
                return Some(known);
            }
            known = node.sibling;
        }
        None
    }

    /// Whether values inside of one of this origin are not told apart from it.
    pub(crate) fn is_whole(&self, origin: Origin) -> bool {
        origin & LEAF == 0 || !matches!(self.kind(origin), LeafKind::Message)
    }

    /// The message that a value of this origin came from.
    pub(crate) fn message_of(&self, origin: Origin) -> Option<u32> {
        if origin & LEAF == 0 {
            return None;
        }
        if is_place(origin) {
            return Some((origin & !MESSAGE) >> FIELD_BITS);
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
        let (a, b) = (self.message_of(left), self.message_of(right));
        let message = if a == b { a } else { None };
        if self.nodes.len() >= MAX_NODES && message.is_some() {
            return left;
        }
        self.push_root(message.unwrap_or(NO_MESSAGE), LeafKind::Mixed, Step::Root)
    }

    /// The number of an origin's leaf in `table`, which gets an entry for a new one.
    #[inline]
    pub(crate) fn number(&mut self, origin: Origin, table: &mut Vec<Leaf>) -> u32 {
        let links = self.links(origin);
        if links.leaf != NONE {
            return links.leaf;
        }
        let number = table.len() as u32;
        links.leaf = number;
        self.describe(origin, table);
        number
    }

    /// Adds the public description of a leaf.
    #[inline(never)]
    fn describe(&self, origin: Origin, table: &mut Vec<Leaf>) {
        if is_place(origin)
            && let (message, Some(key)) = self.place(origin)
            && let Some(at) = COMMON.iter().position(|path| same_word(path, key))
        {
            table.push(Leaf {
                kind: if at == COMMON_ROLE {
                    LeafKind::Role
                } else {
                    LeafKind::Message
                },
                message: Some(message),
                path: Cow::Borrowed(COMMON[at]),
            });
        } else {
            self.describe_rare(origin, table);
        }
    }

    #[inline(never)]
    fn describe_rare(&self, origin: Origin, table: &mut Vec<Leaf>) {
        table.push(Leaf {
            kind: self.kind(origin),
            message: self.message_of(origin),
            path: self.path(origin),
        });
    }

    fn path(&self, origin: Origin) -> Cow<'static, str> {
        let mut steps = Vec::new();
        let mut at = origin;
        while !is_place(at) {
            let node = self.node(at);
            steps.push(node.step);
            if node.parent == at {
                break;
            }
            at = node.parent;
        }
        if is_place(at)
            && let (_, Some(key)) = self.place(at)
        {
            steps.push(Step::Key(key));
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
        Cow::Owned(path)
    }
}

/// The index of the message that this is the origin of as a whole.
#[inline]
pub(crate) fn root_message(origin: Origin) -> Option<u32> {
    (origin & MESSAGE == MESSAGE).then_some((origin & !MESSAGE) >> FIELD_BITS)
}
