//! The whole contract passed on to another table, written once.

/// Implements [`Table`](super::Table) by passing every verb on. `$reach!(self, table => call)`
/// makes the call with `table` bound to the table behind `self`.
macro_rules! forward_table {
    ($reach:ident => $($implementor:tt)*) => {
        $($implementor)* {
            $crate::contract::forward_table! { $reach:
                fn kind(&self) -> $crate::Kind;
                fn capabilities(&self) -> &'static $crate::Capabilities;
                fn identity(&self) -> u64;
                fn look_up(
                    &self, key: &[u8], value: &mut Vec<u8>,
                ) -> Result<Option<$crate::Seen>, $crate::Error>;
                fn update(
                    &self, entry: $crate::Entry<'_>, rule: $crate::Rule<'_>,
                ) -> Result<$crate::Effect, $crate::Error>;
                fn unlink(
                    &self,
                    key: &[u8],
                    only: Option<$crate::Version>,
                    value: Option<&mut Vec<u8>>,
                ) -> Result<$crate::Unlinked, $crate::Error>;
                fn scan(
                    &self,
                    cursor: &mut $crate::Cursor,
                    visit: &mut dyn FnMut($crate::Entry<'_>, $crate::Version),
                ) -> Result<(), $crate::Error>;
                fn len(&self) -> u64;
                fn stats(&self) -> $crate::Stats;
                fn dump(&self, out: &mut dyn std::fmt::Write) -> std::fmt::Result;
                fn audit(&self) -> $crate::Audit;
                fn recover(&self) -> Result<$crate::Recovery, $crate::Error>;
                fn get(
                    &self, key: &[u8], value: &mut Vec<u8>,
                ) -> Result<Option<u64>, $crate::Error>;
                fn get_into(
                    &self, key: &[u8], buffer: &mut [u8],
                ) -> Result<Option<$crate::Copied>, $crate::Error>;
                fn get_many(
                    &self, keys: &[&[u8]], found: &mut Vec<$crate::Lookup>,
                ) -> Result<(), $crate::Error>;
                fn insert_unless(
                    &self,
                    entry: $crate::Entry<'_>,
                    existing: &mut Vec<u8>,
                    is_dead: &dyn Fn(u64) -> bool,
                ) -> Result<$crate::Insert, $crate::Error>;
                fn insert(
                    &self, entry: $crate::Entry<'_>, existing: &mut Vec<u8>,
                ) -> Result<$crate::Insert, $crate::Error>;
                fn put(&self, entry: $crate::Entry<'_>) -> Result<$crate::Put, $crate::Error>;
                fn put_over(
                    &self, entry: $crate::Entry<'_>, is_dead: &dyn Fn(u64) -> bool,
                ) -> Result<$crate::Put, $crate::Error>;
                fn replace(
                    &self, entry: $crate::Entry<'_>,
                ) -> Result<$crate::Replace, $crate::Error>;
                fn compare_exchange(
                    &self, entry: $crate::Entry<'_>, version: $crate::Version,
                ) -> Result<$crate::Exchange, $crate::Error>;
                fn reserve(
                    &self, key: &[u8], value_bytes: usize, metadata: u64,
                ) -> Result<$crate::Reservation<'_>, $crate::Error>;
                fn remove(&self, key: &[u8]) -> Result<$crate::Remove, $crate::Error>;
                fn remove_if(
                    &self, key: &[u8], version: $crate::Version,
                ) -> Result<$crate::RemoveIf, $crate::Error>;
                fn remove_version(
                    &self, version: $crate::Version,
                ) -> Result<$crate::Remove, $crate::Error>;
                fn take(
                    &self, key: &[u8], value: &mut Vec<u8>,
                ) -> Result<Option<u64>, $crate::Error>;
                fn take_into(
                    &self, key: &[u8], buffer: &mut [u8],
                ) -> Result<Option<$crate::Copied>, $crate::Error>;
                fn take_first(&self) -> Result<Option<$crate::OwnedEntry>, $crate::Error>;
                fn is_empty(&self) -> bool;
                fn cursor(&self) -> $crate::Cursor;
                fn for_each(
                    &self,
                    visit: &mut dyn FnMut($crate::Entry<'_>) -> std::ops::ControlFlow<()>,
                ) -> Result<(), $crate::Error>;
                fn sorted_by(
                    &self,
                    order: &mut dyn FnMut(
                        &$crate::OwnedEntry,
                        &$crate::OwnedEntry,
                    ) -> std::cmp::Ordering,
                ) -> Result<Vec<$crate::OwnedEntry>, $crate::Error>;
                fn sorted(&self) -> Result<Vec<$crate::OwnedEntry>, $crate::Error>;
                fn clear(&self) -> Result<u64, $crate::Error>;
                fn adjust(&self, buckets: Option<u64>) -> Result<u64, $crate::Error>;
                fn resizing(&self) -> Option<$crate::Resizing>;
            }
        }
    };
    ($reach:ident: $(fn $verb:ident(
        &$this:ident $(, $argument:ident: $type:ty)* $(,)?
    ) -> $answer:ty;)*) => {
        $(#[inline]
        fn $verb(&$this $(, $argument: $type)*) -> $answer {
            $reach!($this, table => table.$verb($($argument),*))
        })*
    };
}

/// Reaches through a pointer.
macro_rules! behind {
    ($pointer:expr, $table:ident => $call:expr) => {{
        let $table = &**$pointer;
        $call
    }};
}

forward_table!(behind => impl<T: super::Table + ?Sized> super::Table for &T);
forward_table!(behind => impl<T: super::Table + ?Sized> super::Table for Box<T>);
forward_table!(behind => impl<T: super::Table + ?Sized> super::Table for std::sync::Arc<T>);

pub(crate) use forward_table;
