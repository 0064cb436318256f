//! The kinds of functions and what each exports.

use crate::Function;
use crate::ValType::{I32, I64};

/// A kind of function.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// As the manifest writes it.
    pub name: &'static str,
    /// Exports: the names are followed by the function's name.
    pub exports: &'static [Function],
    /// What it is.
    pub doc: &'static str,
}

/// The export of a scalar function whose manifest says `variadic`, instead of `sm_scalar.`.
pub const VARIADIC: Function = Function {
    name: "sm_variadic.",
    params: &[("args", I32), ("count", I32), ("rows", I32), ("out", I32)],
    result: Some(I32),
    required: true,
    doc: "As `sm_scalar.`, with the number of arrays at `args`.",
};

const OPEN: Function = Function {
    name: "sm_open.",
    params: &[("args", I32), ("count", I32)],
    result: Some(I32),
    required: true,
    doc: "Begins a stream and gives its handle, more than 0, or an error number. `args` points to \
          `count` constant arguments (arrays of one element).",
};

const PUSH: Function = Function {
    name: "sm_push.",
    params: &[("handle", I32), ("columns", I32), ("rows", I32)],
    result: Some(I32),
    required: true,
    doc: "Gives the stream a batch of `rows` rows. The host pushes only when `sm_pull` asked for it. \
          The columns stay where they are until the next push.",
};

const PULL: Function = Function {
    name: "sm_pull.",
    params: &[("handle", I32), ("out", I32)],
    result: Some(I32),
    required: true,
    doc: "1: a batch was written to the zeroed arrays at `out`, one for each column, all of the same \
          length; 0: more input is needed; 2: the stream is done; otherwise an error number.",
};

const FINISH: Function = Function {
    name: "sm_finish.",
    params: &[("handle", I32)],
    result: Some(I32),
    required: true,
    doc: "Says that no push follows; `sm_pull` must not ask for input any more.",
};

const CLOSE: Function = Function {
    name: "sm_close.",
    params: &[("handle", I32)],
    result: None,
    required: true,
    doc: "Forgets the stream.",
};

/// The kinds. A status of 0 means success, anything else an error number, unless said otherwise.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "scalar",
        doc: "A value for each row.",
        exports: &[Function {
            name: "sm_scalar.",
            params: &[("args", I32), ("rows", I32), ("out", I32)],
            result: Some(I32),
            required: true,
            doc: "Computes one column. `args` points to one ArrowArray for each argument, side by side; \
                  an array has `rows` elements, or one when the argument is constant. The guest fills the \
                  zeroed ArrowArray at `out` with exactly `rows` elements.",
        }],
    },
    Kind {
        name: "aggregate",
        doc: "A value for each group. The guest keeps the states of all groups of one handle.",
        exports: &[
            Function {
                name: "sm_agg_new.",
                params: &[],
                result: Some(I32),
                required: true,
                doc: "Gives a handle, more than 0, or an error number.",
            },
            Function {
                name: "sm_agg_update.",
                params: AGGREGATE,
                result: Some(I32),
                required: true,
                doc: "Adds `rows` rows. `group_ids` points to one 32-bit number for each row, below \
                      `groups`, which never falls but by `sm_agg_drop`. Constants are arrays of one element.",
            },
            Function {
                name: "sm_agg_merge.",
                params: AGGREGATE,
                result: Some(I32),
                required: true,
                doc: "Adds `rows` states, as `sm_agg_state` gave them, to the groups at `group_ids`.",
            },
            Function {
                name: "sm_agg_state.",
                params: RANGE,
                result: Some(I32),
                required: true,
                doc: "Writes the states of groups `first` to `first + count` to the arrays at `out`, one for \
                      each column of the state, and keeps them.",
            },
            Function {
                name: "sm_agg_finish.",
                params: RANGE,
                result: Some(I32),
                required: true,
                doc: "Writes the results of groups `first` to `first + count` to the array at `out`, and keeps \
                      the states.",
            },
            Function {
                name: "sm_agg_drop.",
                params: &[("handle", I32), ("count", I32)],
                result: Some(I32),
                required: true,
                doc: "Forgets the first `count` groups; the others move to the front.",
            },
            Function {
                name: "sm_agg_size.",
                params: &[("handle", I32)],
                result: Some(I64),
                required: true,
                doc: "Bytes that the states take.",
            },
            Function {
                name: "sm_agg_retract.",
                params: AGGREGATE,
                result: Some(I32),
                required: false,
                doc: "Takes rows away that `sm_agg_update` added.",
            },
            Function {
                name: "sm_agg_close.",
                params: &[("handle", I32)],
                result: None,
                required: true,
                doc: "Forgets all of the handle.",
            },
        ],
    },
    Kind {
        name: "window",
        doc: "A value for each row, computed from all rows of its partition.",
        exports: &[Function {
            name: "sm_window.",
            params: &[
                ("args", I32),
                ("rows", I32),
                ("ranges", I32),
                ("count", I32),
                ("out", I32),
            ],
            result: Some(I32),
            required: true,
            doc: "Computes `count` values over a partition of `rows` rows, in order. Without `frame` in the \
                  manifest, `ranges` is 0 and there is a value for each row. With it, `ranges` points to two \
                  32-bit numbers for each value: the first row of its frame and the row behind the last.",
        }],
    },
    Kind {
        name: "table",
        doc: "Any number of rows for each row of arguments. The first array at `out` of `sm_pull`, before \
              the columns of the manifest, holds 32-bit unsigned numbers without NULL: the row of the last \
              push that each row belongs to, never falling within a push.",
        exports: &[OPEN, PUSH, PULL, FINISH, CLOSE],
    },
    Kind {
        name: "map",
        doc: "A stream of batches into a stream of batches, of other columns and another number of rows.",
        exports: &[OPEN, PUSH, PULL, FINISH, CLOSE],
    },
    Kind {
        name: "grouped_map",
        doc: "Any number of rows for each group of rows.",
        exports: &[Function {
            name: "sm_group.",
            params: &[
                ("args", I32),
                ("columns", I32),
                ("rows", I32),
                ("offsets", I32),
                ("groups", I32),
                ("out", I32),
            ],
            result: Some(I32),
            required: true,
            doc: "Computes whole groups, one after the other. `args` points to the constant arguments, \
                  `columns` to the input; `offsets` to `groups + 1` 32-bit numbers that say where in `rows` \
                  each group starts. Fills the arrays at `out`, all of one length.",
        }],
    },
    Kind {
        name: "cogrouped_map",
        doc: "Any number of rows for each pair of groups with the same key; one of the two may be empty.",
        exports: &[Function {
            name: "sm_cogroup.",
            params: &[
                ("args", I32),
                ("left", I32),
                ("left_offsets", I32),
                ("right", I32),
                ("right_offsets", I32),
                ("groups", I32),
                ("out", I32),
            ],
            result: Some(I32),
            required: true,
            doc: "As `sm_group.`, with two inputs; the last offset of each is its number of rows.",
        }],
    },
];

const AGGREGATE: &[(&str, crate::ValType)] = &[
    ("handle", I32),
    ("args", I32),
    ("rows", I32),
    ("group_ids", I32),
    ("groups", I32),
];

const RANGE: &[(&str, crate::ValType)] = &[
    ("handle", I32),
    ("first", I32),
    ("count", I32),
    ("out", I32),
];
