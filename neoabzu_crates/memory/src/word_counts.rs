//! One auxiliary function for FTS5: how often each word of the query occurs in the current record.
//!
//! FTS5's own `bm25()` first walks the whole list of records of every word and then looks up the length of every
//! match, which for common words takes tens of milliseconds. With the bare counts the ranking is done outside, and
//! lengths are looked up for the few best alone. <https://www.sqlite.org/fts5.html#custom_auxiliary_functions>

use std::ffi::{c_int, c_void};
use std::ptr;

use rusqlite::{Connection, ffi};

/// How many words fit in the answer.
pub(crate) const WORDS: usize = 16;
/// Bits a word takes; counts above 15 are given as 15, where BM25 has long levelled off.
const BITS: usize = 4;
const MOST: i64 = (1 << BITS) - 1;

/// The count of word `index` in an answer of `word_counts()`.
pub(crate) fn count(packed: i64, index: usize) -> u8 {
    ((packed >> (index * BITS)) & MOST) as u8
}

/// Makes `word_counts(fts_table)` known to this connection: an integer of 4 bits for each of the first 16 words.
pub(crate) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let api = fts5_api(connection)?;
    // SAFETY: the pointer was given by this open connection and stays valid as long as the connection; the function
    // is `extern "C"`, keeps no state and is dropped with the connection.
    let code = unsafe {
        match (*api).xCreateFunction {
            Some(create) => create(api, c"word_counts".as_ptr(), ptr::null_mut(), Some(word_counts), None),
            None => ffi::SQLITE_ERROR,
        }
    };
    check(code)
}

fn check(code: c_int) -> rusqlite::Result<()> {
    if code == ffi::SQLITE_OK {
        return Ok(());
    }
    Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("FTS5 is not usable".to_owned())))
}

/// The documented way to FTS5's interface: it writes it where a bound pointer of the right type shows.
fn fts5_api(connection: &Connection) -> rusqlite::Result<*mut ffi::fts5_api> {
    let mut api: *mut ffi::fts5_api = ptr::null_mut();
    // SAFETY: the handle is open for the length of the borrow; the statement is finalised on every path; SQLite
    // writes through the bound pointer only during the step, while `api` is alive.
    let code = unsafe {
        let mut statement = ptr::null_mut();
        let mut code = ffi::sqlite3_prepare_v2(
            connection.handle(),
            c"SELECT fts5(?1)".as_ptr(),
            -1,
            &mut statement,
            ptr::null_mut(),
        );
        if code == ffi::SQLITE_OK {
            let place: *mut *mut ffi::fts5_api = &mut api;
            code = ffi::sqlite3_bind_pointer(
                statement,
                1,
                place.cast::<c_void>(),
                c"fts5_api_ptr".as_ptr(),
                None,
            );
            if code == ffi::SQLITE_OK {
                ffi::sqlite3_step(statement);
            }
        }
        ffi::sqlite3_finalize(statement);
        code
    };
    check(code)?;
    if api.is_null() {
        check(ffi::SQLITE_ERROR)?;
    }
    Ok(api)
}

/// The function itself. It does nothing that may panic: a panic must not cross into C.
unsafe extern "C" fn word_counts(
    api: *const ffi::Fts5ExtensionApi,
    record: *mut ffi::Fts5Context,
    context: *mut ffi::sqlite3_context,
    _argument_count: c_int,
    _arguments: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: FTS5 calls this with its own valid pointers, for the length of the call; all three methods exist
    // since the first version of the interface.
    unsafe {
        let (Some(phrase_count), Some(first), Some(next)) =
            ((*api).xPhraseCount, (*api).xPhraseFirst, (*api).xPhraseNext)
        else {
            ffi::sqlite3_result_error_code(context, ffi::SQLITE_ERROR);
            return;
        };
        let words = phrase_count(record).clamp(0, WORDS as c_int);
        let mut packed: i64 = 0;
        for word in 0..words {
            let mut place = ffi::Fts5PhraseIter { a: ptr::null(), b: ptr::null() };
            let (mut column, mut offset) = (0, 0);
            let code = first(record, word, &mut place, &mut column, &mut offset);
            if code != ffi::SQLITE_OK {
                ffi::sqlite3_result_error_code(context, code);
                return;
            }
            let mut count: i64 = 0;
            while column >= 0 && count < MOST {
                count += 1;
                next(record, &mut place, &mut column, &mut offset);
            }
            packed |= count << (word as usize * BITS);
        }
        ffi::sqlite3_result_int64(context, packed);
    }
}
