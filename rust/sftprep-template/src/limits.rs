//! Bounds on the work of one render, so that a hostile template ends in a clear error.

use crate::error::{ErrorKind, Fault, Res};
use crate::request::Request;

/// Steps allowed without any input; a step is a statement, a loop turn or an item handled.
const BASE_STEPS: u64 = 4_000_000;
/// Further steps per byte of input.
const STEPS_PER_BYTE: u64 = 40;
/// Bytes of text and containers that a render may make, in all, without any input. Text may have
/// a run for every byte, of sixteen times its size and in a buffer twice as large; the limit does
/// not look at runs, so that it is the same with tracing on and off.
const BASE_BYTES: u64 = 2 << 20;
/// Further bytes per byte of input.
const BYTES_PER_BYTE: u64 = 200;
/// Stack that a render may use, in bytes: half of the smallest usual thread stack.
const MAX_STACK: usize = 1 << 20;
/// Longest `range()`, as in Jinja2's sandbox.
pub(crate) const MAX_RANGE: usize = 100_000;
/// Macros and recursive loops inside one another.
pub(crate) const MAX_CALLS: u32 = 200;

/// What is left of the limits.
///
/// The input is measured only when a render has used up what it may do without any: nearly none
/// does, and measuring walks the whole input.
#[derive(Debug)]
pub(crate) struct Budget<'t> {
    steps: u64,
    bytes: u64,
    max_bytes: u64,
    unmeasured: Option<&'t Request<'t>>,
    stack_base: usize,
}

impl<'t> Budget<'t> {
    pub(crate) fn for_request(request: &'t Request<'t>) -> Self {
        Self {
            steps: BASE_STEPS,
            bytes: BASE_BYTES,
            max_bytes: BASE_BYTES,
            unmeasured: Some(request),
            stack_base: stack_address(),
        }
    }

    /// Adds what the input allows, once; whether it did.
    #[cold]
    fn extend(&mut self) -> bool {
        let Some(request) = self.unmeasured.take() else {
            return false;
        };
        let input = request.input_bytes() as u64;
        self.steps += STEPS_PER_BYTE * input;
        self.bytes += BYTES_PER_BYTE * input;
        self.max_bytes += BYTES_PER_BYTE * input;
        true
    }

    #[inline]
    pub(crate) fn steps(&mut self, count: usize) -> Res<()> {
        match self.steps.checked_sub(count as u64) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => self.more_steps(count),
        }
    }

    #[cold]
    fn more_steps(&mut self, count: usize) -> Res<()> {
        if self.extend() {
            return self.steps(count);
        }
        Err(out_of_steps())
    }

    #[inline]
    pub(crate) fn bytes(&mut self, count: usize) -> Res<()> {
        match self.bytes.checked_sub(count as u64) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => self.more_bytes(count),
        }
    }

    #[cold]
    fn more_bytes(&mut self, count: usize) -> Res<()> {
        if self.extend() {
            return self.bytes(count);
        }
        Err(self.out_of_bytes())
    }

    /// Fails if `count` more bytes would not be allowed; does not count them.
    pub(crate) fn would_exceed(&mut self, count: usize) -> Res<()> {
        if count as u64 <= self.bytes {
            Ok(())
        } else if self.extend() {
            self.would_exceed(count)
        } else {
            Err(self.out_of_bytes())
        }
    }

    #[inline]
    pub(crate) fn stack(&self) -> Res<()> {
        if self.stack_base.abs_diff(stack_address()) > MAX_STACK {
            return Err(out_of_stack());
        }
        Ok(())
    }

    #[cold]
    fn out_of_bytes(&self) -> Fault {
        let message = format!(
            "the template makes more than {} bytes of text",
            self.max_bytes
        );
        Fault::new(ErrorKind::LimitOutput, message)
    }
}

#[cold]
fn out_of_steps() -> Fault {
    Fault::new(
        ErrorKind::LimitSteps,
        "the template takes more steps than its input allows",
    )
}

#[cold]
fn out_of_stack() -> Fault {
    Fault::new(
        ErrorKind::LimitRecursion,
        "the template calls itself too deeply",
    )
}

/// An address on the current stack; used for distances only.
#[inline]
fn stack_address() -> usize {
    let marker = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&marker)) as usize
}
