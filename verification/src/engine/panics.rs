//! Panics of models, caught with their place and without noise.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use super::ledger::Defect;
use super::outcome::FailureKind;

thread_local! {
    /// `Some` while this thread's panics are recorded and not printed: the first one.
    static RECORDED: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Runs `work`; a panic becomes a kind and a message that names its place, and prints nothing.
pub(crate) fn catch(work: impl FnOnce()) -> Result<(), (FailureKind, String)> {
    install();
    let outer = RECORDED.replace(Some(None));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let recorded = RECORDED.replace(outer).flatten();
    result.map_err(|payload| match payload.downcast::<Defect>() {
        Ok(defect) => (defect.kind, defect.message),
        Err(payload) => classify(recorded.unwrap_or_else(|| text(payload.as_ref()))),
    })
}

/// The engines report some defects by panics of their own; what they say tells them apart.
fn classify(message: String) -> (FailureKind, String) {
    let kind = if message.contains("deadlock") {
        FailureKind::Deadlock
    } else if message.contains("exceeded maximum number of branches")
        || message.contains("exceeded max_steps bound")
    {
        FailureKind::OverBudget
    } else if message.contains("leaked") {
        FailureKind::Leak
    } else if message.contains("threads.len() < self.max") {
        FailureKind::TooManyParticipants
    } else {
        FailureKind::Panic
    };
    (kind, message)
}

/// Shuttle installs a hook of its own at its first execution, and that one prints: so it is made to
/// do so first, and this hook goes on top.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        super::shuttle::run_nothing();
        let beneath = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let printed = RECORDED.with_borrow_mut(|recorded| match recorded {
                Some(first) => {
                    first.get_or_insert_with(|| describe(info));
                    false
                }
                None => true,
            });
            if printed {
                beneath(info);
            }
        }));
    });
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = text(info.payload());
    match info.location() {
        Some(place) => format!("{message} (at {}:{})", place.file(), place.line()),
        None => message,
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .or_else(|| payload.downcast_ref::<Defect>().map(|defect| defect.message.clone()))
        .unwrap_or_else(|| "a panic that is no text".to_owned())
}
