//! Chains give what the calls apart give, and check what stays in between.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use sandmill_model::TenantId;

use crate::testing::{RUNTIME, module};
use crate::*;

/// `twice(a)`, `plus(a, b)`, `evens(a)`, which is NULL for odd numbers, and `liar(a)`, which is NULL
/// everywhere and promises not to be.
fn guest(keeps: bool) -> Vec<u8> {
    let function = |name: &str, arguments: &[&str], more: &str| {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|a| format!(r#"{{"name":"{a}","type":"l"}}"#))
            .collect();
        format!(
            r#"{{"function":{{"name":"{name}","kind":"scalar","arguments":[{}],"returns":"l"{more}}}}}"#,
            arguments.join(",")
        )
    };
    let manifest = [
        r#"{"package":{"abi":"1.1","name":"chain","version":"1"}}"#.to_owned(),
        function("evens", &["a"], ""),
        function("liar", &["a"], r#","nullable":false"#),
        function("plus", &["a", "b"], ""),
        function("twice", &["a"], ""),
    ];
    let export = |name: &str, value: &str, validity: &str| {
        format!(
            r#"(func (export "sm_scalar.{name}") (param $args i32) (param $rows i32) (param $out i32) (result i32)
                (local $n i32) (local $to i32) (local $bits i32) (local $pointers i32)
                (local.set $to (call $alloc (i32.mul (local.get $rows) (i32.const 8)) (i32.const 64)))
                (local.set $bits (call $alloc (i32.add (i32.shr_u (local.get $rows) (i32.const 3)) (i32.const 8)) (i32.const 64)))
                (local.set $pointers (call $alloc (i32.const 12) (i32.const 64)))
                (block $done (loop $next
                    (br_if $done (i32.ge_u (local.get $n) (local.get $rows)))
                    (i64.store (i32.add (local.get $to) (i32.shl (local.get $n) (i32.const 3))) {value})
                    {validity}
                    (local.set $n (i32.add (local.get $n) (i32.const 1)))
                    (br $next)))
                (i64.store (local.get $out) (i64.extend_i32_u (local.get $rows)))
                (i64.store offset=8 (local.get $out) (i64.const -1))
                (i64.store offset=24 (local.get $out) (i64.const 2))
                (i32.store offset=40 (local.get $out) (local.get $pointers))
                (i32.store (local.get $pointers) {})
                (i32.store offset=4 (local.get $pointers) (local.get $to))
                (i32.const 0))"#,
            if validity.is_empty() {
                "(i32.const 0)"
            } else {
                "(local.get $bits)"
            }
        )
    };
    let bit = |even: &str| {
        format!(
            "(i32.store8 (i32.add (local.get $bits) (i32.shr_u (local.get $n) (i32.const 3)))
                (i32.or (i32.load8_u (i32.add (local.get $bits) (i32.shr_u (local.get $n) (i32.const 3))))
                    (i32.shl {even} (i32.and (local.get $n) (i32.const 7)))))"
        )
    };
    let a = "(call $value (local.get $args) (local.get $n))";
    let b = "(call $value (i32.add (local.get $args) (i32.const 64)) (local.get $n))";
    let even = format!("(i32.wrap_i64 (i64.and (i64.xor {a} (i64.const 1)) (i64.const 1)))");
    let functions = [
        export("evens", a, &bit(&even)),
        export("liar", a, &bit("(i32.const 0)")),
        export("plus", &format!("(i64.add {a} {b})"), ""),
        export("twice", &format!("(i64.mul {a} (i64.const 2))"), ""),
    ];
    let value = r#"(func $value (param $array i32) (param $n i32) (result i64)
        (if (i64.eq (i64.load (local.get $array)) (i64.const 1)) (then (local.set $n (i32.const 0))))
        (i64.load (i32.add (i32.load offset=4 (i32.load offset=40 (local.get $array)))
            (i32.shl (local.get $n) (i32.const 3)))))"#;
    let free = match keeps {
        true => r#"(func (export "sm_out_free") (param i32))"#,
        false => "",
    };
    let body = format!("{RUNTIME} {value} {free} {}", functions.join("\n"));
    module(Some(&manifest.join("\n")), &body)
}

fn instance(keeps: bool) -> Instance {
    let sandbox = Sandbox::new(Settings {
        instances: 4,
        ..Settings::default()
    })
    .expect("starts");
    let module = sandbox
        .load(&TenantId::single(), &guest(keeps))
        .expect("loads");
    module.instantiate(&Arc::default()).expect("starts")
}

fn index(instance: &Instance, name: &str) -> usize {
    instance.module().function(name).expect("there")
}

/// `plus(twice(evens(a)), b)` and with `twice` of it again.
fn steps(instance: &Instance) -> Vec<Step> {
    let step = |name, operands: &[Operand]| Step {
        function: index(instance, name),
        operands: operands.to_vec(),
    };
    vec![
        step("evens", &[Operand::Input(0)]),
        step("twice", &[Operand::Step(0)]),
        step("plus", &[Operand::Step(1), Operand::Input(1)]),
        step("plus", &[Operand::Step(2), Operand::Step(1)]),
    ]
}

#[test]
fn a_chain_gives_what_the_calls_apart_give() {
    let steps = steps(&instance(true));
    let with_nulls = |rows: i64, step: i64| {
        Int64Array::from_iter((0..rows).map(|n| (n % step != 0).then_some(n * 7 - rows)))
    };
    let sliced = with_nulls(1000, 3).slice(13, 700);
    let constant = Int64Array::from(vec![5]);
    for (a, b) in [
        (with_nulls(8, 100), with_nulls(8, 100)),
        (with_nulls(1000, 5), with_nulls(1000, 3)),
        (sliced.clone(), with_nulls(700, 2)),
        (with_nulls(1, 2), with_nulls(1, 2)),
        // Does not fit at once.
        (with_nulls(1_100_000, 7), with_nulls(1_100_000, 11)),
        (with_nulls(77, 4), constant.clone()),
    ] {
        // The guest never frees; it starts anew for each case.
        let mut one_by_one = instance(true);
        let rows = a.len();
        let b = match b.len() == 1 && rows > 1 {
            true => Argument::Constant(&b),
            false => Argument::Column(&b),
        };
        let mut apart: Vec<ArrayRef> = Vec::new();
        for step in &steps {
            let arguments: Vec<_> = step
                .operands
                .iter()
                .map(|operand| match operand {
                    Operand::Input(0) => Argument::Column(&a),
                    Operand::Input(_) => b,
                    Operand::Step(n) => Argument::Column(apart[*n].as_ref()),
                })
                .collect();
            let result = one_by_one.call(step.function, &arguments, rows);
            apart.push(result.expect("computes"));
        }
        let together = instance(true).chain(&steps, &[Argument::Column(&a), b], rows);
        assert_eq!(&together.expect("computes"), &apart[3], "{rows} rows");
    }
    let none = Int64Array::from(Vec::<i64>::new());
    let empty = [Argument::Column(&none), Argument::Column(&none)];
    let result = instance(true).chain(&steps, &empty, 0);
    assert_eq!(result.expect("empty").len(), 0);
}

#[test]
fn a_broken_promise_in_the_middle_is_found() {
    let mut instance = instance(true);
    let step = |instance: &Instance, name, operand| Step {
        function: index(instance, name),
        operands: vec![operand],
    };
    let steps = [
        step(&instance, "liar", Operand::Input(0)),
        step(&instance, "twice", Operand::Step(0)),
    ];
    let a = Int64Array::from(vec![1, 2, 3]);
    let result = instance.chain(&steps, &[Argument::Column(&a)], 3);
    assert!(matches!(result, Err(Error::Output(_))), "{result:?}");
    let result = instance.chain(&steps, &[Argument::Column(&a)], 3);
    assert!(matches!(result, Err(Error::Poisoned)), "{result:?}");
}

#[test]
fn what_is_no_chain_is_refused() {
    let a = Int64Array::from(vec![1, 2, 3]);
    let inputs = [Argument::Column(&a), Argument::Column(&a)];
    let mut forgetful = instance(false);
    let all = steps(&forgetful);
    let result = forgetful.chain(&all, &inputs, 3);
    assert!(matches!(result, Err(Error::Arguments(_))), "{result:?}");
    let mut instance = instance(true);
    let later = [all[1].clone(), all[0].clone()];
    for (steps, inputs) in [
        (&all[..0], &inputs[..]),
        (&all[..], &inputs[..1]),
        (&later[..], &inputs[..]),
    ] {
        let result = instance.chain(steps, inputs, 3);
        assert!(matches!(result, Err(Error::Arguments(_))), "{result:?}");
    }
    let result = instance.chain(&all, &inputs, 4);
    assert!(matches!(result, Err(Error::Arguments(_))), "{result:?}");
}
