// Synthetic series: x (n, channels) f32; row t is time t, and training cuts windows. y is not
// there: what is predicted is x itself, later.
//
//   sine             sin(2 pi t / period + phase) and noise
//   sines            a sum of waves: wave w has a period of `period` times 2^u, u uniform in
//   [-1.5, 1.5),
//                    and an amplitude uniform in [0.5, 1), divided by the number of waves
//   autoregressive   x_t = a_1 x_(t-1) + ... + a_p x_(t-p) + e_t, e normal
//
// Phases, periods and amplitudes are drawn for each channel. Without --coefficients those of the
// autoregressive process are drawn by their partial autocorrelations, uniform in (-0.9, 0.9), so
// the process is stable (J. Durbin, "The Fitting of Time-Series Models", 1960); they are kept as
// the attribute `coefficients`. It starts 1000 steps before row 0, from zeros.
#pragma once

#include "datasets/synthesize/kind.h"

namespace lockstep {

SyntheticKind sine_kind();
SyntheticKind sines_kind();
SyntheticKind autoregressive_kind();

}  // namespace lockstep
