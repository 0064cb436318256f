//! The manifest: what a module says of itself, read without running it.

/// A field of a line of the manifest.
#[derive(Debug, Clone, Copy)]
pub struct ManifestField {
    /// Name of the JSON field.
    pub name: &'static str,
    /// JSON type and rules.
    pub ty: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// The manifest is JSON lines: each line one object with exactly one of the keys `package` and
/// `function`; lines are separated by line feeds or NUL bytes and may come in any order, so that
/// linkers can concatenate them. Unknown fields are refused. These are the fields of `package`,
/// which occurs exactly once.
pub const MANIFEST_PACKAGE: &[ManifestField] = &[
    ManifestField {
        name: "abi",
        ty: "text, required",
        doc: "ABI version: `1.0`.",
    },
    ManifestField {
        name: "name",
        ty: "text, required",
        doc: "Package name, 1 to 64 of a-z, A-Z, 0-9, `-`, `_`.",
    },
    ManifestField {
        name: "version",
        ty: "text, required",
        doc: "Package version, at most 64 bytes.",
    },
    ManifestField {
        name: "language",
        ty: "text",
        doc: "Source language, for people.",
    },
    ManifestField {
        name: "build",
        ty: "text",
        doc: "What it was built from, for people: a revision, an address.",
    },
    ManifestField {
        name: "capabilities",
        ty: "object",
        doc: "What it needs beside its own memory: `{\"http\":[{\"host\":\"api.example.org\",\"port\":443,\
              \"methods\":[\"GET\"]}]}`. Granted only where the tenant's policy names the same. \
              Functions of such a module are at most `stable`.",
    },
    ManifestField {
        name: "sdk",
        ty: "text",
        doc: "SDK and its version, for people.",
    },
];

/// The fields of `function`, one line for each function.
pub const MANIFEST_FUNCTION: &[ManifestField] = &[
    ManifestField {
        name: "name",
        ty: "text, required",
        doc: "Name in SQL: a letter or `_`, then letters, digits, `_`; at most 63 bytes; lower case.",
    },
    ManifestField {
        name: "kind",
        ty: "text, required",
        doc: "`scalar`, `aggregate`, `window`, `table`, `map`, `grouped_map` or `cogrouped_map`.",
    },
    ManifestField {
        name: "arguments",
        ty: "list of arguments, required",
        doc: "At most 32. For the three kinds of maps these are constants beside the input table.",
    },
    ManifestField {
        name: "variadic",
        ty: "boolean, default false",
        doc: "Scalar functions only: the last argument may be given any number of times, also never.",
    },
    ManifestField {
        name: "returns",
        ty: "type",
        doc: "The result of a scalar, aggregate or window function, and of no other kind. `same:1` is \
              the type of the first argument.",
    },
    ManifestField {
        name: "columns",
        ty: "list of columns (as arguments)",
        doc: "The result of a table function or a map: at most 64, required there.",
    },
    ManifestField {
        name: "input",
        ty: "list of columns (as arguments)",
        doc: "The columns that a map takes, matched by position; required there.",
    },
    ManifestField {
        name: "right",
        ty: "list of columns (as arguments)",
        doc: "The columns of the second input of a cogrouped map.",
    },
    ManifestField {
        name: "state",
        ty: "list of columns (as arguments)",
        doc: "What an aggregate keeps of each group between batches, processes and files; required there.",
    },
    ManifestField {
        name: "state_bytes",
        ty: "number, default none",
        doc: "What `sm_agg_size` may reach before the aggregate is stopped.",
    },
    ManifestField {
        name: "retract",
        ty: "boolean, default false",
        doc: "Aggregates: it exports `sm_agg_retract`, which makes moving frames cheap.",
    },
    ManifestField {
        name: "frame",
        ty: "boolean, default false",
        doc: "Window functions: it computes over the frame of each row and not over the whole partition.",
    },
    ManifestField {
        name: "nullable",
        ty: "boolean, default true",
        doc: "false promises a result without NULL wherever no strict argument is NULL (scalar and window \
              functions), or for every group (aggregates).",
    },
    ManifestField {
        name: "strict",
        ty: "boolean, default true",
        doc: "true: NULL in any argument gives NULL, whatever the guest wrote there; an aggregate does not \
              see such rows and a table function gives no rows for them.",
    },
    ManifestField {
        name: "volatility",
        ty: "`immutable` (default), `stable`, `volatile`",
        doc: "What the planner may assume.",
    },
    ManifestField {
        name: "doc",
        ty: "text",
        doc: "One paragraph for people.",
    },
    ManifestField {
        name: "examples",
        ty: "list of texts",
        doc: "SQL examples.",
    },
];

/// The fields of an argument or column.
pub const MANIFEST_ARGUMENT: &[ManifestField] = &[
    ManifestField {
        name: "name",
        ty: "text, required",
        doc: "A name as a function has it; distinct.",
    },
    ManifestField {
        name: "type, children, dictionary",
        ty: "see types",
        doc: "The type.",
    },
    ManifestField {
        name: "nullable",
        ty: "boolean, default true",
        doc: "Columns of results and states: false promises that there is no NULL.",
    },
    ManifestField {
        name: "default",
        ty: "text",
        doc: "An SQL literal for arguments that are left out; only the last arguments may have one.",
    },
    ManifestField {
        name: "monotonic",
        ty: "`increasing` or `decreasing`",
        doc: "Scalar functions: how the result follows this argument while the others are constant.",
    },
];

/// The fields of a type. A type without types inside can be written as the text of its `type` alone.
pub const MANIFEST_TYPE: &[ManifestField] = &[
    ManifestField {
        name: "type",
        ty: "text, required",
        doc: "An Arrow format string; in arguments of scalar functions also `any` (every type; the array \
              carries its schema) or `same:N` (the type of argument N, counted from 1).",
    },
    ManifestField {
        name: "children",
        ty: "list of {`name`, `nullable`, type}",
        doc: "The types inside: one for lists, two (key and value) for maps, the fields of a struct.",
    },
    ManifestField {
        name: "dictionary",
        ty: "type",
        doc: "The values, where `type` is the integer type of the keys.",
    },
];
