//! Aggregates written by hand, good and hostile.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::*;
use arrow::datatypes::Int64Type;
use sandmill_model::{ErrorCode, TenantId};

use crate::testing::module;
use crate::*;

const GUEST: &str = include_str!("../testing/aggregates.wat");

fn manifest(extra: &str) -> String {
    let state = r#""state":[{"name":"value","type":"l","nullable":false},{"name":"count","type":"l","nullable":false}]"#;
    format!(
        r#"{{"package":{{"abi":"1.1","name":"test","version":"1"}}}}
{{"function":{{"name":"total","kind":"aggregate","arguments":[{{"name":"x","type":"l"}}],"returns":"l",{state},"retract":true{extra}}}}}
{{"function":{{"name":"plain","kind":"aggregate","arguments":[{{"name":"x","type":"l"}}],"returns":"l",{state}}}}}"#
    )
}

const MEMORY: usize = 4 << 20;

/// An instance of the guest with some of its text replaced; `total` is function 1.
fn instance(extra: &str, replace: &[(&str, &str)]) -> Instance {
    let mut text = GUEST.to_owned();
    for (from, to) in replace {
        assert!(text.contains(from), "the guest has no {from}");
        text = text.replacen(from, to, 1);
    }
    let sandbox = Sandbox::new(Settings {
        instances: 2,
        memory_bytes: MEMORY,
        ..Settings::default()
    })
    .expect("starts");
    let context = Context {
        call_deadline: Some(Duration::from_millis(100)),
        ..Context::default()
    };
    let wasm = module(Some(&manifest(extra)), &text);
    let module = sandbox.load(&TenantId::single(), &wasm).expect("loads");
    module.instantiate(&Arc::new(context)).expect("starts")
}

const PLAIN: usize = 0;
const TOTAL: usize = 1;

fn ids(ids: &[u32]) -> UInt32Array {
    UInt32Array::from(ids.to_vec())
}

fn column(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn longs(array: &ArrayRef) -> Vec<Option<i64>> {
    array.as_primitive::<Int64Type>().iter().collect()
}

#[test]
fn groups_are_added_merged_finished_and_dropped() {
    let mut instance = instance("", &[]);
    let mut states = instance.aggregate_new(TOTAL).expect("opens");
    let values = column(&[Some(1), None, Some(3), Some(40), None]);
    instance
        .aggregate_update(
            &mut states,
            &[Argument::Column(&values)],
            &ids(&[0, 0, 0, 2, 3]),
            5,
        )
        .expect("adds");
    let sums = instance.aggregate_finish(&states, 0, 5).expect("finishes");
    assert_eq!(longs(&sums), [Some(4), None, Some(40), None, None]);
    let kept = instance.aggregate_state(&states, 1, 3).expect("has states");
    assert_eq!(longs(&kept[0]), [Some(0), Some(40), Some(0)]);
    assert_eq!(longs(&kept[1]), [Some(0), Some(1), Some(0)]);

    // Another handle of the same instance has groups of its own.
    let mut other = instance.aggregate_new(TOTAL).expect("opens");
    instance
        .aggregate_merge(&mut other, &kept, &ids(&[1, 1, 0]), 2)
        .expect("merges");
    let constant = column(&[Some(5)]);
    instance
        .aggregate_update(
            &mut other,
            &[Argument::Constant(&constant)],
            &ids(&[0, 0, 1]),
            2,
        )
        .expect("adds");
    let sums = instance.aggregate_finish(&other, 0, 2).expect("finishes");
    assert_eq!(longs(&sums), [Some(10), Some(45)]);
    let two = column(&[Some(5), Some(40)]);
    instance
        .aggregate_retract(&mut other, &[Argument::Column(&two)], &ids(&[0, 1]), 2)
        .expect("takes away");
    instance.aggregate_drop(&mut other, 1).expect("drops");
    let sums = instance.aggregate_finish(&other, 0, 1).expect("finishes");
    assert_eq!((longs(&sums), other.groups()), (vec![Some(5)], 1));
    instance.aggregate_close(other).expect("closes");

    let sums = instance.aggregate_finish(&states, 2, 1).expect("finishes");
    assert_eq!(longs(&sums), [Some(40)]);
    let timings = instance.timings();
    assert!(timings.calls > 6 && timings.rows > 8, "{timings:?}");
}

#[test]
fn a_batch_larger_than_the_arena_is_added_in_parts() {
    let mut instance = instance("", &[]);
    let mut states = instance.aggregate_new(TOTAL).expect("opens");
    let values = Int64Array::from_iter_values(0..300_000);
    let groups = UInt32Array::from_iter_values((0..300_000).map(|n| n % 7));
    let column: [Argument<'_>; 1] = [Argument::Column(&values)];
    instance
        .aggregate_update(&mut states, &column, &groups, 7)
        .expect("adds");
    let sums = instance.aggregate_finish(&states, 0, 7).expect("finishes");
    let total: i64 = longs(&sums).into_iter().flatten().sum();
    assert_eq!(total, 299_999 * 300_000 / 2);
    assert!(instance.timings().calls > 2, "{:?}", instance.timings());
}

#[test]
fn what_does_not_fit_the_manifest_does_not_reach_the_guest() {
    let mut instance = instance("", &[]);
    let mut states = instance.aggregate_new(TOTAL).expect("opens");
    let mut plain = instance.aggregate_new(PLAIN).expect("opens");
    let values = column(&[Some(1), Some(2)]);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let null = column(&[None, Some(2)]);
    fn arguments(array: &ArrayRef) -> [Argument<'_>; 1] {
        [Argument::Column(array)]
    }
    let two = [Arc::clone(&values), Arc::clone(&text)];
    let holes = [Arc::clone(&values), Arc::clone(&null)];
    let i = &mut instance;
    let both = ids(&[0, 0]);
    let refused = [
        i.aggregate_update(&mut states, &arguments(&values), &ids(&[0, 2]), 2),
        i.aggregate_update(&mut states, &arguments(&values), &ids(&[0]), 2),
        i.aggregate_update(&mut states, &arguments(&text), &both, 2),
        i.aggregate_update(&mut states, &[], &both, 2),
        i.aggregate_retract(&mut plain, &arguments(&values), &both, 2),
        i.aggregate_merge(&mut plain, &two, &both, 2),
        i.aggregate_merge(&mut plain, &holes, &both, 2),
        i.aggregate_drop(&mut plain, 1),
    ];
    for (n, refused) in refused.into_iter().enumerate() {
        assert!(
            matches!(refused, Err(Error::Arguments(_))),
            "{n}: {refused:?}"
        );
    }
    let error = instance
        .aggregate_finish(&states, 0, 1)
        .expect_err("no groups");
    assert!(matches!(error, Error::Arguments(_)), "{error}");
    assert!(matches!(
        instance.call(TOTAL, &[], 0),
        Err(Error::Arguments(_))
    ));
    assert!(!instance.is_poisoned());
}

/// Everything once; the first error.
fn whole_life(instance: &mut Instance) -> Result<(), Error> {
    let mut states = instance.aggregate_new(TOTAL)?;
    let values = column(&[Some(1), Some(2)]);
    let arguments = [Argument::Column(&values)];
    instance.aggregate_update(&mut states, &arguments, &ids(&[0, 1]), 2)?;
    instance.aggregate_retract(&mut states, &arguments, &ids(&[0, 1]), 2)?;
    let columns = instance.aggregate_state(&states, 0, 2)?;
    instance.aggregate_merge(&mut states, &columns, &ids(&[0, 1]), 2)?;
    instance.aggregate_size(&states)?;
    instance.aggregate_finish(&states, 0, 2)?;
    instance.aggregate_drop(&mut states, 1)?;
    let second = instance.aggregate_new(TOTAL)?;
    instance.aggregate_close(second)?;
    instance.aggregate_close(states)
}

#[test]
fn hostile_aggregates_end_in_typed_errors() {
    assert!(whole_life(&mut instance("", &[])).is_ok());
    let count = "(i64.store (local.get $out) (i64.extend_i32_u (local.get $count)))";
    let new = r#"(func (export "sm_agg_new.total") (export "sm_agg_new.plain") (result i32) (call $new (i32.const 1)))"#;
    let gives = |value: &str| new.replace("(call $new (i32.const 1))", value);
    for (replace, words) in [
        ((new, gives("(i32.const 0)").as_str()), "handle 0"),
        ((new, gives("(i32.const 9000)").as_str()), "in use"),
        ((new, gives("(i32.const -77)").as_str()), "error number -77"),
        (
            (count, "(i64.store (local.get $out) (i64.const 1))"),
            "rows",
        ),
        (
            (count, "(i64.store (local.get $out) (i64.const -1))"),
            "rows",
        ),
        (
            ("(i64.store offset=24 (local.get $out) (i64.const 2))", ""),
            "buffers",
        ),
        (
            // A text where a number was promised has three buffers.
            (
                "(i64.store offset=24 (local.get $out) (i64.const 2))",
                "(i64.store offset=24 (local.get $out) (i64.const 3))",
            ),
            "3 buffers",
        ),
        (
            (
                "(i32.store offset=4 (local.get $pointers) (local.get $values))",
                "(i32.store offset=4 (local.get $pointers) (i32.const -8))",
            ),
            "outside",
        ),
        (
            // NULL in a state that cannot be NULL.
            (
                "(i32.const 2064) (i32.const 0) (local.get $counts)",
                "(i32.const 2064) (i32.const 3000) (local.get $counts)",
            ),
            "NULL",
        ),
        (
            (
                "(i64.shl (i64.load32_u offset=4 (local.get $handle)) (i64.const 4))",
                "(i64.const -1)",
            ),
            "-1 bytes",
        ),
        (
            (
                "(i64.shl (i64.load32_u offset=4 (local.get $handle)) (i64.const 4))",
                "(i64.const 0x7fffffffffffffff)",
            ),
            "9223372036854775807 bytes",
        ),
    ] {
        let mut instance = instance("", &[replace]);
        let error = whole_life(&mut instance).expect_err(words);
        assert!(error.to_string().contains(words), "{error} lacks {words}");
        assert!(instance.is_poisoned(), "{words}");
        let after = whole_life(&mut instance);
        assert!(matches!(after, Err(Error::Poisoned)), "{after:?}");
    }
}

#[test]
fn every_export_of_an_aggregate_meets_the_deadline() {
    for export in [
        "new", "update", "merge", "state", "finish", "drop", "size", "close", "retract",
    ] {
        let name = format!("(export \"sm_agg_{export}.total\")");
        let start = first_instruction(GUEST.find(&name).expect("is there"));
        let text = format!(
            "{} (call $spin) {} (func $spin (loop $l (br $l)))",
            &GUEST[..start],
            &GUEST[start..]
        );
        let mut instance = instance("", &[(GUEST, &text)]);
        let error = whole_life(&mut instance).expect_err(export);
        let deadline = Trap::Deadline {
            limit: Duration::from_millis(100),
        };
        assert!(
            matches!(&error, Error::Trap { cause, .. } if *cause == deadline),
            "{export}: {error}"
        );
        assert!(instance.is_poisoned(), "{export}");
    }
}

/// Where the instructions of a function begin: behind its exports, parameters, results and locals.
fn first_instruction(mut at: usize) -> usize {
    loop {
        at = GUEST.len() - GUEST[at..].trim_start().len();
        let heads = ["(export ", "(param ", "(result ", "(local "];
        if !heads.iter().any(|head| GUEST[at..].starts_with(head)) {
            return at;
        }
        at += GUEST[at..].find(')').expect("closes") + 1;
    }
}

#[test]
fn states_stay_within_the_limits_of_manifest_and_memory() {
    let mut limited = instance(r#","state_bytes":1024"#, &[]);
    let mut states = limited.aggregate_new(TOTAL).expect("opens");
    limited.aggregate_grow(&mut states, 64).expect("fits");
    let error = limited.aggregate_grow(&mut states, 65).expect_err("more");
    assert!(
        matches!(
            error,
            Error::States {
                bytes: 2048,
                limit: 1024
            }
        ),
        "{error}"
    );
    let failure = error.into_failure(Some(("total", "1")));
    assert_eq!(failure.code, ErrorCode::FunctionMemory);
    assert_eq!(failure.limit.map(|l| l.value), Some(1024));
    assert!(limited.is_poisoned());

    let mut free = instance("", &[]);
    let mut states = free.aggregate_new(TOTAL).expect("opens");
    let error = free.aggregate_grow(&mut states, 1 << 20).expect_err("more");
    let memory = Trap::Memory {
        limit: MEMORY as u64,
    };
    assert!(
        matches!(&error, Error::Trap { cause, .. } if *cause == memory),
        "{error}"
    );
}

#[test]
fn errors_name_the_row_over_all_batches() {
    let mut instance = instance("", &[]);
    let mut states = instance.aggregate_new(TOTAL).expect("opens");
    let good = column(&[Some(1), Some(2)]);
    let bad = column(&[Some(1), Some(-666)]);
    let update = |i: &mut Instance, states: &mut States, values: &ArrayRef| {
        i.aggregate_update(states, &[Argument::Column(values)], &ids(&[0, 0]), 1)
    };
    update(&mut instance, &mut states, &good).expect("adds");
    match update(&mut instance, &mut states, &bad) {
        Err(Error::Guest { row, message, .. }) => {
            assert_eq!((row, message.as_str()), (Some(3), "beast!"));
        }
        other => unreachable!("{other:?}"),
    }
}
