// The home of oneDNN: its engine and stream, one way of making primitives with oneDNN 2.x and 3.x,
// and the errors. CPU kernels use it through core/kernel/onednn_kernel.h; nothing else includes
// dnnl.hpp.
//
// oneDNN 2.x describes an operation first (an op descriptor) and makes the primitive descriptor
// from it; 3.x makes it at once. A few accessors changed their names, too. This file alone knows
// the version.
#pragma once

#include <cstddef>
#include <dnnl.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"

namespace lockstep::onednn {

// The one CPU engine. Immutable; safe from any thread.
const dnnl::engine& engine();

// What every primitive of Lockstep is made with: scratch memory comes from the Plan.
dnnl::primitive_attr attributes();

// Appends y = activation(y) to what the primitive computes.
void append_eltwise(dnnl::post_ops& post_ops, dnnl::algorithm algorithm, float alpha, float beta);

// Makes the primitive descriptor of P (convolution_forward, matmul, ...) from the arguments that
// are the same in both versions: those of P::desc in 2.x, which in 3.x follow the engine (for
// reorder, which has no P::desc, they follow the engine in both). Throws dnnl::error; use it inside
// checked().
template <typename P, typename... Arguments>
typename P::primitive_desc make_primitive_desc(const dnnl::primitive_attr& attributes,
                                               Arguments&&... arguments) {
#if DNNL_VERSION_MAJOR >= 3
  return typename P::primitive_desc(engine(), std::forward<Arguments>(arguments)..., attributes);
#else
  if constexpr (requires { typename P::desc; }) {
    const typename P::desc description(std::forward<Arguments>(arguments)...);
    return typename P::primitive_desc(description, attributes, engine());
  } else {
    return typename P::primitive_desc(engine(), std::forward<Arguments>(arguments)..., attributes);
  }
#endif
}

// The same for a backward primitive, which takes the descriptor of its forward primitive as a hint.
template <typename P, typename Hint, typename... Arguments>
typename P::primitive_desc make_backward_desc(const dnnl::primitive_attr& attributes,
                                              const Hint& hint, Arguments&&... arguments) {
#if DNNL_VERSION_MAJOR >= 3
  return
      typename P::primitive_desc(engine(), std::forward<Arguments>(arguments)..., hint, attributes);
#else
  const typename P::desc description(std::forward<Arguments>(arguments)...);
  return typename P::primitive_desc(description, attributes, engine(), hint);
#endif
}

// How a memory descriptor orders its elements. `opaque` formats say nothing else.
struct Format {
  bool opaque = false;
  dnnl::memory::dims dims, padded_dims, strides;
  std::vector<std::int64_t> inner_blocks, inner_axes;  // innermost last
};
Format format_of(const dnnl::memory::desc& desc);

// oneDNN's word for a format: "abcd" for row-major, "aBcd16b" for blocks of 16 of axis b, "acdb"
// for other orders of the axes, "opaque".
std::string format_name(const dnnl::memory::desc& desc);

// A primitive and its memory objects, prepared. Runs on the calling thread and oneDNN's OpenMP
// threads; from one thread at a time, because a run sets the addresses of the shared memory
// objects.
class Primitive {
 public:
  // DNNL_ARG_SRC and the like, and what lies there.
  struct Argument {
    int which;
    dnnl::memory::desc desc;
  };

  // `attributes()` must have been among what the descriptor of `primitive` was made with.
  Primitive(dnnl::primitive primitive, std::span<const Argument> arguments,
            const dnnl::memory::desc& scratchpad);

  std::size_t scratchpad_bytes() const { return scratchpad_bytes_; }
  // The addresses are in the order of the arguments. Returns when the result is there.
  void run(std::span<void* const> addresses, void* scratchpad);

 private:
  dnnl::primitive primitive_;
  dnnl::stream stream_;
  std::vector<dnnl::memory> memory_;  // of the arguments, then the scratchpad
  std::vector<dnnl_exec_arg_t> arguments_;
  std::vector<void*> addresses_;  // that the memory objects have now
  std::size_t scratchpad_bytes_;
};

// Calls body() and turns oneDNN's refusal into bad_input "WHAT: oneDNN 2.6 ...: <its words>". For
// what is done while a kernel is made.
template <typename Body>
auto checked(const std::string& what, const Body& body) {
  try {
    return body();
  } catch (const dnnl::error& error) {
    const dnnl_version_t* version = dnnl_version();
    bad_input(what, ": oneDNN ", version->major, ".", version->minor,
              " has no such kernel on this processor (", error.what(), ", status ", error.status,
              "); bf16 needs a processor with AVX-512");
  }
}

}  // namespace lockstep::onednn
