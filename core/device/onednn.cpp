#include "core/device/onednn.h"

#include <algorithm>
#include <numeric>

#include "core/device/cpu_device.h"

namespace lockstep::onednn {

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::primitive_attr attributes() {
  dnnl::primitive_attr out;
  out.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return out;
}

void append_eltwise(dnnl::post_ops& post_ops, dnnl::algorithm algorithm, float alpha, float beta) {
#if DNNL_VERSION_MAJOR >= 3
  post_ops.append_eltwise(algorithm, alpha, beta);
#else
  post_ops.append_eltwise(1.0f, algorithm, alpha, beta);
#endif
}

// ---- Formats -----------------------------------------------------------------------------------

Format format_of(const dnnl::memory::desc& desc) {
  Format out;
#if DNNL_VERSION_MAJOR >= 3
  out.dims = desc.get_dims();
  out.padded_dims = desc.get_padded_dims();
  out.opaque = desc.get_format_kind() != dnnl::memory::format_kind::blocked;
  if (out.opaque) return out;
  out.strides = desc.get_strides();
  out.inner_blocks = desc.get_inner_blks();
  out.inner_axes = desc.get_inner_idxs();
#else
  const dnnl_memory_desc_t& data = desc.data;
  out.dims.assign(data.dims, data.dims + data.ndims);
  out.padded_dims.assign(data.padded_dims, data.padded_dims + data.ndims);
  // Weights for Winograd's method and for VNNI may carry more than strides say (`extra`).
  out.opaque = data.format_kind != dnnl_blocked || data.extra.flags != 0;
  if (out.opaque) return out;
  const dnnl_blocking_desc_t& blocking = data.format_desc.blocking;
  out.strides.assign(blocking.strides, blocking.strides + data.ndims);
  out.inner_blocks.assign(blocking.inner_blks, blocking.inner_blks + blocking.inner_nblks);
  out.inner_axes.assign(blocking.inner_idxs, blocking.inner_idxs + blocking.inner_nblks);
#endif
  return out;
}

std::string format_name(const dnnl::memory::desc& desc) {
  const Format format = format_of(desc);
  if (format.opaque) return "opaque";
  std::vector<int> axes(format.dims.size());
  std::iota(axes.begin(), axes.end(), 0);
  // Axes of extent 1 may have any stride: the larger extent goes outside then.
  std::ranges::stable_sort(axes, [&](int a, int b) {
    return std::pair(format.strides[a], format.padded_dims[a]) >
           std::pair(format.strides[b], format.padded_dims[b]);
  });
  std::string out;
  for (const int axis : axes) {
    const bool blocked = std::ranges::find(format.inner_axes, axis) != format.inner_axes.end();
    out += static_cast<char>((blocked ? 'A' : 'a') + axis);
  }
  for (std::size_t i = 0; i < format.inner_blocks.size(); ++i) {
    out += text(format.inner_blocks[i], static_cast<char>('a' + format.inner_axes[i]));
  }
  return out;
}

// ---- Primitive ---------------------------------------------------------------------------------

Primitive::Primitive(dnnl::primitive primitive, std::span<const Argument> arguments,
                     const dnnl::memory::desc& scratchpad)
    : primitive_(std::move(primitive)),
      stream_(engine()),
      scratchpad_bytes_(scratchpad.get_size()) {
  auto add = [&](int which, const dnnl::memory::desc& desc) {
    memory_.push_back(dnnl::memory(desc, engine(), DNNL_MEMORY_NONE));
    arguments_.push_back({which, memory_.back().get()});
    addresses_.push_back(nullptr);
  };
  for (const Argument& argument : arguments) add(argument.which, argument.desc);
  if (scratchpad_bytes_ > 0) add(DNNL_ARG_SCRATCHPAD, scratchpad);
}

void Primitive::run(std::span<void* const> addresses, void* scratchpad) {
  auto check = [](dnnl_status_t status, const char* call) {
    require(status == dnnl_success, call, " failed with status ", static_cast<int>(status));
  };
  for (std::size_t i = 0; i < memory_.size(); ++i) {
    void* const address = i < addresses.size() ? addresses[i] : scratchpad;
    if (addresses_[i] == address) continue;
    check(dnnl_memory_set_data_handle(memory_[i].get(), address), "dnnl_memory_set_data_handle");
    addresses_[i] = address;
  }
  check(dnnl_primitive_execute(primitive_.get(), stream_.get(), static_cast<int>(arguments_.size()),
                               arguments_.data()),
        "dnnl_primitive_execute");
}

}  // namespace lockstep::onednn

namespace lockstep {

std::string cpu_library() {
  const dnnl_version_t* version = dnnl_version();
  return text("oneDNN ", version->major, ".", version->minor, ".", version->patch);
}

}  // namespace lockstep
