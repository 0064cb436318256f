//! Window functions written by hand, good and hostile.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::*;
use arrow::datatypes::Int64Type;
use sandmill_model::TenantId;

use crate::testing::module;
use crate::*;

const GUEST: &str = include_str!("../testing/windows.wat");
const MANIFEST: &str = r#"{"package":{"abi":"1.1","name":"test","version":"1"}}
{"function":{"name":"back","kind":"window","arguments":[{"name":"x","type":"l"}],"returns":"l","nullable":false}}
{"function":{"name":"span","kind":"window","arguments":[{"name":"x","type":"l"}],"returns":"l","frame":true}}"#;
const BACK: usize = 0;
const SPAN: usize = 1;

fn instance(replace: Option<(&str, &str)>) -> Instance {
    let text = match replace {
        Some((from, to)) => {
            assert!(GUEST.contains(from), "the guest has no {from}");
            GUEST.replace(from, to)
        }
        None => GUEST.to_owned(),
    };
    let sandbox = Sandbox::new(Settings {
        instances: 2,
        memory_bytes: 8 << 20,
        ..Settings::default()
    })
    .expect("starts");
    let context = Context {
        call_deadline: Some(Duration::from_millis(100)),
        ..Context::default()
    };
    let wasm = module(Some(MANIFEST), &text);
    let module = sandbox.load(&TenantId::single(), &wasm).expect("loads");
    module.instantiate(&Arc::new(context)).expect("starts")
}

fn longs(array: &ArrayRef) -> Vec<Option<i64>> {
    array.as_primitive::<Int64Type>().iter().collect()
}

#[test]
fn partitions_and_frames_are_computed() {
    let mut instance = instance(None);
    let values = Int64Array::from(vec![Some(1), None, Some(5), Some(10)]);
    let arguments: [Argument<'_>; 1] = [Argument::Column(&values)];
    let back = instance.window(BACK, &arguments, 4).expect("computes");
    // The row of a strict argument's NULL is NULL, whatever the guest gave.
    assert_eq!(longs(&back)[..2], [Some(10), None]);
    assert_eq!(longs(&back)[3], Some(1));

    let loaded = instance.window_load(SPAN, &arguments, 4).expect("loads");
    let copied = instance.timings().copy_nanos;
    let spans = instance
        .window_frames(&loaded, &[0..1, 0..3, 2..4, 3..3])
        .expect("computes");
    assert_eq!(longs(&spans), [Some(0), Some(4), Some(5), None]);
    let again = instance
        .window_frames(&loaded, std::slice::from_ref(&(2..4)))
        .expect("computes");
    assert_eq!(longs(&again), [Some(5)]);
    assert!(instance.timings().copy_nanos >= copied);
    assert!(instance.window_holds(&loaded));

    // Another call takes the arena.
    instance.window(BACK, &arguments, 4).expect("computes");
    assert!(!instance.window_holds(&loaded));
    assert!(matches!(
        instance.window_frames(&loaded, std::slice::from_ref(&(0..1))),
        Err(Error::Arguments(_))
    ));
    assert!(!instance.is_poisoned());
}

#[test]
fn many_frames_are_computed_in_parts() {
    let mut instance = instance(None);
    let values = Int64Array::from_iter_values(0..20_000);
    let arguments: [Argument<'_>; 1] = [Argument::Column(&values)];
    let loaded = instance
        .window_load(SPAN, &arguments, 20_000)
        .expect("loads");
    let frames: Vec<_> = (0..20_000).map(|n| n..(n + 3).min(20_000)).collect();
    let spans = instance.window_frames(&loaded, &frames).expect("computes");
    assert_eq!(spans.len(), 20_000);
    let expected = (0..20_000).map(|n| Some(if n < 19_998 { 2 } else { 19_999 - n }));
    assert!(longs(&spans).into_iter().eq(expected));
    assert!(instance.timings().calls > 1);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let mut instance = instance(None);
    let values = Int64Array::from(vec![1, 2]);
    let arguments: [Argument<'_>; 1] = [Argument::Column(&values)];
    let loaded = instance.window_load(SPAN, &arguments, 2).expect("loads");
    #[allow(clippy::reversed_empty_ranges, reason = "the test")]
    for frame in [0..3, 2..1] {
        let refused = instance.window_frames(&loaded, &[frame]);
        assert!(matches!(refused, Err(Error::Arguments(_))), "{refused:?}");
    }
    assert!(matches!(
        instance.window(SPAN, &arguments, 2),
        Err(Error::Arguments(_))
    ));
    assert!(matches!(
        instance.window_load(BACK, &arguments, 2),
        Err(Error::Arguments(_))
    ));
    assert!(matches!(
        instance.window(BACK, &arguments, 3),
        Err(Error::Arguments(_))
    ));
    let huge = Int64Array::from(vec![0; 1 << 20]);
    let error = instance
        .window(BACK, &[Argument::Column(&huge)], 1 << 20)
        .expect_err("too large");
    let memory = Trap::Memory { limit: 8 << 20 };
    assert!(
        matches!(&error, Error::Trap { cause, .. } if *cause == memory),
        "{error}"
    );
}

#[test]
fn hostile_windows_end_in_typed_errors() {
    let values = Int64Array::from(vec![1, 2, 3]);
    let count = "(i64.store (local.get $out) (i64.extend_i32_u (local.get $count)))";
    for (replace, words) in [
        (
            (count, "(i64.store (local.get $out) (i64.const 2))"),
            "2 rows",
        ),
        (
            (
                "(call $array (local.get $out) (local.get $count) (i32.const 0))",
                "(call $array (local.get $out) (local.get $count) (i32.const 1032))",
            ),
            "NULL",
        ),
        (("(i32.const 131072)))", "(i32.const -8)))"), "outside"),
        ((count, "(loop $l (br $l))"), "longer than its limit"),
        ((count, "unreachable"), "unreachable"),
    ] {
        let mut instance = instance(Some(replace));
        let arguments: [Argument<'_>; 1] = [Argument::Column(&values)];
        let error = instance.window(BACK, &arguments, 3).expect_err(words);
        assert!(error.to_string().contains(words), "{error} lacks {words}");
        assert!(instance.is_poisoned(), "{words}");
    }
}
