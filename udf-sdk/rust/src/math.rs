//! Sine, cosine and their kin, small enough to be inlined.
