//! What one instance leaves behind for the next: nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::Int64Array;
use sandmill_model::TenantId;

use crate::testing::{ECHO, RUNTIME, guest, manifest, module};
use crate::*;

fn sandbox(instances: u32) -> Sandbox {
    Sandbox::new(Settings {
        instances,
        ..Settings::default()
    })
    .expect("starts")
}

fn call(module: &Module) -> Result<(), Error> {
    let values = Int64Array::from(vec![1, 2]);
    let mut instance = module.instantiate(&Arc::default())?;
    instance
        .call(0, &[Argument::Column(&values)], 2)
        .map(|_| ())
}

#[test]
fn no_tenant_finds_the_canary_of_another_in_any_byte() {
    // All that a memory can have, written in full by the one and read in full by the other.
    let all = "(drop (memory.grow (i32.sub (i32.const 1024) (memory.size))))";
    let write = format!(
        "{all} (local.set $from (i32.const 200000))
         (loop $next
            (i64.store (local.get $from) (i64.const 0x0ca17a12_0ca17a12))
            (local.set $from (i32.add (local.get $from) (i32.const 8)))
            (br_if $next (i32.lt_u (local.get $from) (i32.const 67108864))))
         {ECHO}"
    );
    let read = format!(
        "{all} (local.set $from (i32.const 200000))
         (loop $next
            (if (i64.ne (i64.load (local.get $from)) (i64.const 0)) (then unreachable))
            (local.set $from (i32.add (local.get $from) (i32.const 8)))
            (br_if $next (i32.lt_u (local.get $from) (i32.const 67108864))))
         {ECHO}"
    );
    let sandbox = sandbox(1);
    let load = |tenant: &TenantId, body: &str| {
        let wasm = guest("f", "l", "l", body);
        sandbox.load(tenant, &wasm).expect("loads")
    };
    let other = TenantId::new("other").expect("legal");
    let (writer, reader) = (load(&TenantId::single(), &write), load(&other, &read));
    for _ in 0..3 {
        call(&writer).expect("writes");
        call(&reader).expect("finds nothing");
    }
    // The reader would see what is there: its own kind of memory with one byte set.
    let set = read.replacen(
        "(local.set",
        "(i32.store8 (i32.const 50000000) (i32.const 1)) (local.set",
        1,
    );
    assert!(call(&load(&other, &set)).is_err());
}

#[test]
fn globals_tables_and_segments_begin_anew_in_each_instance() {
    let text = format!(
        r#"{RUNTIME} (global $seen (mut i32) (i32.const 0)) (table $t 4 funcref) (elem declare func $f)
        (data $once "once") (func $f)
        (func (export "sm_scalar.f") (param $args i32) (param $rows i32) (param $out i32) (result i32)
            (if (global.get $seen) (then unreachable))
            (if (i32.eqz (ref.is_null (table.get $t (i32.const 3)))) (then unreachable))
            (if (i32.ne (table.size $t) (i32.const 4)) (then unreachable))
            ;; Traps when the segment was dropped.
            (memory.init $once (i32.const 2048) (i32.const 0) (i32.const 4))
            (data.drop $once)
            (global.set $seen (i32.const 1))
            (table.set $t (i32.const 3) (ref.func $f))
            (drop (table.grow $t (ref.func $f) (i32.const 5)))
            {ECHO})"#
    );
    let wasm = module(Some(&manifest("f", "l", "l")), &text);
    let module = sandbox(1).load(&TenantId::single(), &wasm).expect("loads");
    for _ in 0..5 {
        call(&module).expect("everything is as it was");
    }
    let values = Int64Array::from(vec![1]);
    let mut instance = module.instantiate(&Arc::default()).expect("starts");
    let argument: [Argument<'_>; 1] = [Argument::Column(&values)];
    instance.call(0, &argument, 1).expect("works");
    assert!(
        instance.call(0, &argument, 1).is_err(),
        "it does see its own"
    );
}

#[test]
fn ten_thousand_instances_queue_for_four_slots() {
    let sandbox = sandbox(4);
    let wasm = guest("f", "l", "l", ECHO);
    let module = sandbox.load(&TenantId::single(), &wasm).expect("loads");
    let done = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                for _ in 0..200 {
                    call(&module).expect("gets its turn");
                    done.fetch_add(1, Ordering::Relaxed);
                    assert!(sandbox.stats().instances <= 4);
                }
            });
        }
    });
    assert_eq!(done.into_inner(), 10_000);
    assert_eq!(sandbox.stats().instances, 0);
}
