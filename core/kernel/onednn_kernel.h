// oneDNN's memory formats as layouts of values, and kernels that run one oneDNN primitive.
//
// oneDNN has its own order of axes: activations are (n, c, h, w) and weights (g, o, i, h, w)
// whatever their order in memory is. Everywhere here, `plain` is a row-major value described with
// oneDNN's axes: NHWC activations have the dims (n, c, h, w) and the strides of NHWC.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/device/onednn.h"
#include "core/kernel/kernel.h"

namespace lockstep {

class OnednnLayout final : public Layout {
 public:
  // `plain` and `desc` have the same dims and element type.
  OnednnLayout(dnnl::memory::desc plain, dnnl::memory::desc desc);
  std::size_t bytes() const override { return desc_.get_size(); }
  bool padded() const override { return padded_; }
  bool equals(const Layout& other) const override;
  std::string name() const override { return name_; }
  const dnnl::memory::desc& plain() const { return plain_; }
  const dnnl::memory::desc& desc() const { return desc_; }

 private:
  dnnl::memory::desc plain_, desc_;
  bool padded_;
  std::string name_;
};

namespace onednn {

// bad_input for types that oneDNN does not compute with.
dnnl::memory::data_type data_type(DType dtype);

// The row-major value with its own axes.
dnnl::memory::desc plain_desc(const TensorType& type);
// A row-major value with other axes than its own.
dnnl::memory::desc plain_desc(DType dtype, const dnnl::memory::dims& dims,
                              const dnnl::memory::dims& strides);
dnnl::memory::data_type element_type(const dnnl::memory::desc& desc);
// The same dims with the format left to the primitive.
dnnl::memory::desc any_format(const dnnl::memory::desc& plain);

// What lies in memory for a value of that type: the format of its layout, or `plain`. Throws
// broken_invariant where the layout is not oneDNN's or has other axes.
dnnl::memory::desc desc_of(const TensorType& type, const dnnl::memory::desc& plain);
// The layout that a primitive asks for; null where that is `plain`.
std::shared_ptr<const Layout> layout_of(const dnnl::memory::desc& plain,
                                        const dnnl::memory::desc& desc);

// An image batch (n, h, w, c) whose channels lie in blocks: in memory it is (n, blocks, h, w,
// block). Row-major NHWC is one block of all channels. The last block may be filled up with zeros.
struct ChannelBlocks {
  std::int64_t blocks = 1, block = 0;
};
// Nothing where the value has another layout. REQUIRES: rank 4.
std::optional<ChannelBlocks> channel_blocks(const TensorType& type);
// The layout of an image batch of that shape with channels in blocks of 8 or 16; null for other
// sizes.
std::shared_ptr<const Layout> channel_blocked_layout(DType dtype, const Shape& nhwc,
                                                     std::int64_t block);

// (n, h, w, c) with oneDNN's axes.
dnnl::memory::desc plain_images(const TensorType& nhwc);

// Where an argument of a primitive lies when the kernel runs.
struct KernelArgument {
  enum class Place { kInput, kOutput, kWorkspace };
  int which;  // DNNL_ARG_SRC and the like
  dnnl::memory::desc desc;
  Place place;
  int index = 0;           // of the input or output
  std::size_t offset = 0;  // bytes, in the workspace
};
inline KernelArgument input(int which, dnnl::memory::desc desc, int index) {
  return {which, std::move(desc), KernelArgument::Place::kInput, index};
}
inline KernelArgument output(int which, dnnl::memory::desc desc, int index) {
  return {which, std::move(desc), KernelArgument::Place::kOutput, index};
}

// A kernel named "NAME (IMPLEMENTATION)" that runs the primitive of `desc`. The first
// `reserved_workspace` bytes of its workspace are for arguments that lie there.
template <typename P>
Kernel make_kernel(const std::string& name, const typename P::primitive_desc& desc,
                   const std::vector<KernelArgument>& arguments,
                   std::size_t reserved_workspace = 0);

// The same, type-erased.
Kernel make_kernel(const std::string& name, dnnl::primitive primitive,
                   const dnnl::memory::desc& scratchpad,
                   const std::vector<KernelArgument>& arguments, std::size_t reserved_workspace);

template <typename P>
Kernel make_kernel(const std::string& name, const typename P::primitive_desc& desc,
                   const std::vector<KernelArgument>& arguments, std::size_t reserved_workspace) {
  return make_kernel(name + " (" + desc.impl_info_str() + ")",
                     checked(name, [&] { return P(desc); }), desc.scratchpad_desc(), arguments,
                     reserved_workspace);
}

}  // namespace onednn
}  // namespace lockstep
