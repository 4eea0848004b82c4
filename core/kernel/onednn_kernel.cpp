#include "core/kernel/onednn_kernel.h"

#include <array>

namespace lockstep {

// ---- OnednnLayout ------------------------------------------------------------------------------

OnednnLayout::OnednnLayout(dnnl::memory::desc plain, dnnl::memory::desc desc)
    : plain_(std::move(plain)), desc_(std::move(desc)), name_(onednn::format_name(desc_)) {
  const onednn::Format format = onednn::format_of(desc_);
  require(format.dims == onednn::format_of(plain_).dims, "a oneDNN layout ", name_,
          " with other dims than its value");
  padded_ = format.opaque || format.padded_dims != format.dims;
}

bool OnednnLayout::equals(const Layout& other) const {
  const auto* that = dynamic_cast<const OnednnLayout*>(&other);
  return that != nullptr && plain_ == that->plain_ && desc_ == that->desc_;
}

namespace onednn {

// ---- Descriptors -------------------------------------------------------------------------------

dnnl::memory::data_type data_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return dnnl::memory::data_type::f32;
    case DType::kBF16:
      return dnnl::memory::data_type::bf16;
    case DType::kI32:
      return dnnl::memory::data_type::s32;
    case DType::kU8:
      return dnnl::memory::data_type::u8;
    case DType::kI8:
      return dnnl::memory::data_type::s8;
    default:
      bad_input("oneDNN does not compute with ", name_of(dtype));
  }
}

dnnl::memory::desc plain_desc(DType dtype, const dnnl::memory::dims& dims,
                              const dnnl::memory::dims& strides) {
  return {dims, data_type(dtype), strides};
}

dnnl::memory::desc plain_desc(const TensorType& type) {
  const auto dims = type.shape.dims();
  dnnl::memory::dims extents(dims.begin(), dims.end()), strides(dims.size());
  for (int axis = 0; axis < type.shape.rank(); ++axis) {
    strides[axis] = type.shape.elements(axis + 1, type.shape.rank());
  }
  return plain_desc(type.dtype, extents, strides);
}

dnnl::memory::data_type element_type(const dnnl::memory::desc& desc) {
#if DNNL_VERSION_MAJOR >= 3
  return desc.get_data_type();
#else
  return desc.data_type();
#endif
}

dnnl::memory::desc any_format(const dnnl::memory::desc& plain) {
  return {format_of(plain).dims, element_type(plain), dnnl::memory::format_tag::any};
}

dnnl::memory::desc desc_of(const TensorType& type, const dnnl::memory::desc& plain) {
  if (!type.layout) return plain;
  const auto* layout = dynamic_cast<const OnednnLayout*>(type.layout.get());
  require(layout != nullptr, type.to_string(), ": not a layout of oneDNN");
  require(layout->plain() == plain, type.to_string(), ": the layout is of a value with other axes");
  return layout->desc();
}

std::shared_ptr<const Layout> layout_of(const dnnl::memory::desc& plain,
                                        const dnnl::memory::desc& desc) {
  if (desc == plain) return nullptr;
  return std::make_shared<OnednnLayout>(plain, desc);
}

// ---- Images ------------------------------------------------------------------------------------

dnnl::memory::desc plain_images(const TensorType& nhwc) {
  const Shape& s = nhwc.shape;
  // The stride of a single channel says nothing, but oneDNN finds its fast kernels only where it is
  // that of NCHW.
  const std::int64_t channel = s[3] == 1 ? s[1] * s[2] : 1;
  return plain_desc(nhwc.dtype, {s[0], s[3], s[1], s[2]},
                    {s[1] * s[2] * s[3], channel, s[2] * s[3], s[3]});
}

std::shared_ptr<const Layout> channel_blocked_layout(DType dtype, const Shape& nhwc,
                                                     std::int64_t block) {
  if (block != 8 && block != 16) return nullptr;
  using Tag = dnnl::memory::format_tag;
  const dnnl::memory::desc plain = plain_images({dtype, nhwc, nullptr});
  return layout_of(plain, {{nhwc[0], nhwc[3], nhwc[1], nhwc[2]},
                           data_type(dtype),
                           block == 8 ? Tag::nChw8c : Tag::nChw16c});
}

std::optional<ChannelBlocks> channel_blocks(const TensorType& type) {
  if (!type.layout) return ChannelBlocks{1, type.shape[3]};
  for (const std::int64_t block : {8, 16}) {
    if (same_layout(channel_blocked_layout(type.dtype, type.shape, block), type.layout)) {
      return ChannelBlocks{(type.shape[3] + block - 1) / block, block};
    }
  }
  return std::nullopt;
}

// ---- Kernels -----------------------------------------------------------------------------------

Kernel make_kernel(const std::string& name, dnnl::primitive primitive,
                   const dnnl::memory::desc& scratchpad,
                   const std::vector<KernelArgument>& arguments, std::size_t reserved_workspace) {
  constexpr std::size_t kMostArguments = 6;
  require(arguments.size() <= kMostArguments, name, ": too many arguments");
  std::vector<Primitive::Argument> prepared;
  for (const KernelArgument& argument : arguments) {
    prepared.push_back({argument.which, argument.desc});
  }
  const auto runner = std::make_shared<Primitive>(std::move(primitive), prepared, scratchpad);
  const std::size_t scratchpad_at =
      (reserved_workspace + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment;
  struct Source {
    KernelArgument::Place place;
    int index;
    std::size_t offset;
  };
  std::vector<Source> sources;
  for (const KernelArgument& a : arguments) sources.push_back({a.place, a.index, a.offset});

  auto run = [runner, sources = std::move(sources), scratchpad_at](const Launch& launch) {
    auto* const workspace = static_cast<std::byte*>(launch.workspace);
    std::array<void*, kMostArguments> addresses;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      switch (sources[i].place) {
        case KernelArgument::Place::kInput:
          addresses[i] = launch.inputs[sources[i].index];
          break;
        case KernelArgument::Place::kOutput:
          addresses[i] = launch.outputs[sources[i].index];
          break;
        case KernelArgument::Place::kWorkspace:
          addresses[i] = workspace + sources[i].offset;
          break;
      }
    }
    runner->run(std::span(addresses.data(), sources.size()), workspace + scratchpad_at);
  };
  return {name, std::move(run), scratchpad_at + runner->scratchpad_bytes()};
}

}  // namespace onednn
}  // namespace lockstep
