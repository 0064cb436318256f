;; What every hostile guest starts with: the host's imports, memory and an allocator.
(import "sandmill" "fail" (func $fail (param i32 i64 i32 i32)))
(import "sandmill" "log" (func $log (param i32 i32 i32)))
(import "sandmill" "random" (func $random (result i64)))
(memory (export "memory") 2)
(global $top (mut i32) (i32.const 131072))
(func (export "sm_alloc") (param $size i32) (param $align i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 63)) (i32.const -64)))
    (global.set $top (i32.add (local.get $at) (local.get $size)))
    (block $fits
        (loop $more
            (br_if $fits (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
            (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (return (i32.const 0))))
            (br $more)))
    (local.get $at) ;; the block
)
(func (export "sm_free") (param i32 i32 i32))
