//! Sine, cosine and arcsine, small and without calls, so that they are inlined into loops.
//!
//! On wasm32 they take the place of the compiler's own, which are functions behind functions: every
//! entry costs a look at the engine's clock. Method: reduction to an eighth of a turn (Cody and
//! Waite, Software Manual for the Elementary Functions, 1980; for huge arguments Payne and Hanek,
//! Radian Reduction for Trigonometric Functions, 1983), then the minimax polynomials that are known
//! from Sun's fdlibm. The error stays below one unit in the last place.

#![allow(
    clippy::excessive_precision,
    reason = "constants stand as they are published"
)]

/// The first bits of 2/π behind the point.
const TWO_OVER_PI: [u64; 20] = [
    0xa2f9836e4e441529,
    0xfc2757d1f534ddc0,
    0xdb6295993c439041,
    0xfe5163abdebbc561,
    0xb7246e3a424dd2e0,
    0x06492eea09d1921c,
    0xfe1deb1cb129a73e,
    0xe88235f52ebb4484,
    0xe99c7026b45f7e41,
    0x3991d639835339f4,
    0x9c845f8bbdf9283b,
    0x1ff897ffde05980f,
    0xef2f118b5a0a6d1f,
    0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b,
    0x3d0739f78a5292ea,
    0x6bfb5fb11f8d5d08,
    0x56033046fc7b6bab,
    0xf0cfbc209af4361d,
];

const INVERSE: f64 = core::f64::consts::FRAC_2_PI;
/// π/2 in pieces: the first two have 33 bits, so that their products with small integers are exact.
const PI_1: f64 = 1.570_796_326_734_125_614_17;
const PI_2: f64 = 6.077_100_506_303_965_976_60e-11;
const PI_3: f64 = 2.022_266_248_795_950_631_54e-21;
/// Adding and subtracting it rounds to an integer.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// `x` less a multiple of π/2, in two parts, and the multiple's last two bits.
#[inline(always)]
fn reduce(x: f64) -> (u32, f64, f64) {
    if x.abs() < 1e6 {
        let turns = (x * INVERSE + ROUND) - ROUND;
        let first = x - turns * PI_1;
        let product = turns * PI_2;
        let second = first - product;
        let rest = turns * PI_3 - ((first - second) - product);
        let high = second - rest;
        let low = (second - high) - rest;
        return (turns as i32 as u32 & 3, high, low);
    }
    reduce_large(x)
}

/// The same for arguments whose multiple of π/2 has more digits than a double.
#[cold]
#[inline(never)]
fn reduce_large(x: f64) -> (u32, f64, f64) {
    if !x.is_finite() {
        return (0, f64::NAN, 0.0);
    }
    let bits = x.to_bits();
    let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
    // x = mantissa · 2^exponent; |x| ≥ 10^6, so the exponent is at least -33.
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1075;
    // Bits of 2/π before this one give whole turns.
    let start = (exponent - 2).max(0) as usize;
    let word = |n: usize| {
        let at = start + n * 64;
        let (index, shift) = (at / 64, at % 64);
        let get = |i: usize| TWO_OVER_PI.get(i).copied().unwrap_or(0);
        if shift == 0 {
            get(index)
        } else {
            get(index) << shift | get(index + 1) >> (64 - shift)
        }
    };
    // mantissa · (192 bits of 2/π), of which the lowest 256 bits are kept.
    let mut product = [0u64; 4];
    let mut carry = 0u128;
    for (n, digit) in product.iter_mut().take(3).enumerate() {
        let sum = u128::from(mantissa) * u128::from(word(2 - n)) + carry;
        *digit = sum as u64;
        carry = sum >> 64;
    }
    product[3] = carry as u64;
    // Bits behind the point.
    let point = 192 - (exponent - start as i32);
    let bit_range = |from: i32| {
        // 64 bits of the product from bit `from` on.
        let (index, shift) = (from.div_euclid(64), from.rem_euclid(64) as u32);
        let get = |i: i32| {
            usize::try_from(i)
                .ok()
                .and_then(|i| product.get(i))
                .copied()
                .unwrap_or(0)
        };
        if shift == 0 {
            get(index)
        } else {
            get(index) >> shift | get(index + 1) << (64 - shift)
        }
    };
    let mut turns = bit_range(point) as u32 & 3;
    let mut fraction = u128::from(bit_range(point - 64)) << 64 | u128::from(bit_range(point - 128));
    // To the nearest multiple.
    let past_half = fraction >> 127 == 1;
    if past_half {
        turns = turns.wrapping_add(1);
        fraction = fraction.wrapping_neg();
    }
    const UNIT: f64 = 1.0 / 340_282_366_920_938_463_463_374_607_431_768_211_456.0;
    let high_part = fraction as f64;
    let low_part = if high_part as u128 >= fraction {
        -((high_part as u128 - fraction) as f64)
    } else {
        (fraction - high_part as u128) as f64
    };
    let (a, b) = (high_part * UNIT, low_part * UNIT);
    // (a + b) · π/2 with the product's error kept.
    const PI_LOW: f64 = 6.123_233_995_736_766_035_87e-17;
    let half_pi = core::f64::consts::FRAC_PI_2;
    let high = a * half_pi;
    let low = exact_error(a, half_pi, high) + (a * PI_LOW + b * half_pi);
    let sum = high + low;
    let rest = low - (sum - high);
    let negative = past_half != (x < 0.0);
    let sign = if negative { -1.0 } else { 1.0 };
    let turns = if x < 0.0 { turns.wrapping_neg() } else { turns };
    (turns & 3, sum * sign, rest * sign)
}

/// What rounding took from `a · b` (Dekker, A Floating-Point Technique, 1971).
fn exact_error(a: f64, b: f64, product: f64) -> f64 {
    let split = |x: f64| {
        let c = 134_217_729.0 * x;
        let high = c - (c - x);
        (high, x - high)
    };
    let ((ah, al), (bh, bl)) = (split(a), split(b));
    ((ah * bh - product) + ah * bl + al * bh) + al * bl
}

/// Sine of `x + low` for |x| ≤ π/4.
#[inline(always)]
fn kernel_sine(x: f64, low: f64) -> f64 {
    let z = x * x;
    let w = z * z;
    let r = 8.333_333_333_322_489_461_24e-3
        + z * (-1.984_126_982_985_794_931_34e-4 + z * 2.755_731_370_707_006_767_89e-6)
        + z * w * (-2.505_076_025_340_686_341_95e-8 + z * 1.589_690_995_211_550_102_21e-10);
    let v = z * x;
    x - ((z * (0.5 * low - v * r) - low) - v * -1.666_666_666_666_663_243_48e-1)
}

/// Cosine of `x + low` for |x| ≤ π/4.
#[inline(always)]
fn kernel_cosine(x: f64, low: f64) -> f64 {
    let z = x * x;
    let w = z * z;
    let r = z
        * (4.166_666_666_666_660_190_37e-2
            + z * (-1.388_888_888_887_410_957_49e-3 + z * 2.480_158_728_947_672_941_78e-5))
        + w * w
            * (-2.755_731_435_139_066_330_35e-7
                + z * (2.087_572_321_298_174_827_90e-9 + z * -1.135_964_755_778_819_482_65e-11));
    let half = 0.5 * z;
    let w = 1.0 - half;
    w + (((1.0 - w) - half) + (z * r - x * low))
}

/// Sine of an angle in radians.
#[inline(always)]
pub(crate) fn sine(x: f64) -> f64 {
    // Keeps the sign of zero and the smallest numbers.
    if x.abs() < 1e-8 {
        return x;
    }
    let (turns, high, low) = reduce(x);
    let value = if turns & 1 == 0 {
        kernel_sine(high, low)
    } else {
        kernel_cosine(high, low)
    };
    if turns & 2 == 0 { value } else { -value }
}

/// Cosine of an angle in radians.
#[inline(always)]
pub(crate) fn cosine(x: f64) -> f64 {
    let (turns, high, low) = reduce(x);
    let value = if turns & 1 == 0 {
        kernel_cosine(high, low)
    } else {
        kernel_sine(high, low)
    };
    if (turns + 1) & 2 == 0 { value } else { -value }
}

/// The rational part of the arcsine.
#[inline(always)]
fn kernel_arcsine(z: f64) -> f64 {
    let p = z
        * (1.666_666_666_666_666_574_15e-1
            + z * (-3.255_658_186_224_009_154_05e-1
                + z * (2.012_125_321_348_629_258_81e-1
                    + z * (-4.005_553_450_067_941_140_27e-2
                        + z * (7.915_349_942_898_145_321_76e-4
                            + z * 3.479_331_075_960_211_675_70e-5)))));
    let q = 1.0
        + z * (-2.403_394_911_734_414_218_78
            + z * (2.020_945_760_233_505_694_71
                + z * (-6.882_839_716_054_532_930_30e-1 + z * 7.703_815_055_590_193_527_91e-2)));
    p / q
}

/// Arcsine in radians; NaN outside of -1 to 1.
#[inline(always)]
pub(crate) fn arcsine(x: f64) -> f64 {
    let size = x.abs();
    if size < 0.5 {
        return if size < 1e-8 {
            x
        } else {
            x + x * kernel_arcsine(x * x)
        };
    }
    if size >= 1.0 {
        return if size == 1.0 {
            x * core::f64::consts::FRAC_PI_2
        } else {
            f64::NAN
        };
    }
    let z = (1.0 - size) * 0.5;
    let s = z.sqrt();
    let r = kernel_arcsine(z);
    // The root in two parts: the first with half of the digits.
    let high = f64::from_bits(s.to_bits() & 0xffff_ffff_0000_0000);
    let low = (z - high * high) / (s + high);
    const PI_LOW: f64 = 6.123_233_995_736_766_035_87e-17;
    let quarter = core::f64::consts::FRAC_PI_4;
    let value = quarter - ((2.0 * s * r - (PI_LOW - 2.0 * low)) - (quarter - 2.0 * high));
    if x < 0.0 { -value } else { value }
}

#[cfg(target_arch = "wasm32")]
mod symbols {
    /// Takes the place of the compiler's function of this name.
    #[unsafe(no_mangle)]
    pub extern "C" fn sin(x: f64) -> f64 {
        super::sine(x)
    }

    /// Takes the place of the compiler's function of this name.
    #[unsafe(no_mangle)]
    pub extern "C" fn cos(x: f64) -> f64 {
        super::cosine(x)
    }

    /// Takes the place of the compiler's function of this name.
    #[unsafe(no_mangle)]
    pub extern "C" fn asin(x: f64) -> f64 {
        super::arcsine(x)
    }
}

#[cfg(test)]
mod tests {
    /// Distance in units of the last place; 0 for two NaN.
    fn ulps(a: f64, b: f64) -> u64 {
        if a.is_nan() && b.is_nan() {
            return 0;
        }
        let order = |x: f64| {
            let bits = x.to_bits() as i64;
            if bits < 0 { i64::MIN - bits } else { bits }
        };
        order(a).abs_diff(order(b))
    }

    fn check(name: &str, ours: fn(f64) -> f64, theirs: fn(f64) -> f64, x: f64) {
        let (a, b) = (ours(x), theirs(x));
        assert!(ulps(a, b) <= 1, "{name}({x:e}) is {a:e}, expected {b:e}");
    }

    #[test]
    fn they_agree_with_the_platform_to_the_last_place() {
        let mut state = 1u64;
        let mut random = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0
        };
        for _ in 0..300_000 {
            let r = random();
            for scale in [
                1e-9, 1e-3, 1.0, 4.0, 400.0, 1e5, 1e6, 1e9, 1e17, 1e100, 1e300,
            ] {
                check("sin", super::sine, f64::sin, r * scale);
                check("cos", super::cosine, f64::cos, r * scale);
            }
            check("asin", super::arcsine, f64::asin, r);
            check("asin", super::arcsine, f64::asin, r * 1e-7);
        }
        let halves = (0..2000).map(|n| f64::from(n) * core::f64::consts::FRAC_PI_4);
        let special = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            1.5,
            f64::NAN,
            f64::INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
            1e6,
            999_999.999,
        ];
        for x in special.into_iter().chain(halves) {
            check("sin", super::sine, f64::sin, x);
            check("cos", super::cosine, f64::cos, x);
            check("asin", super::arcsine, f64::asin, x);
            if x == 0.0 {
                assert_eq!(super::sine(x).is_sign_negative(), x.is_sign_negative());
            }
        }
    }
}
