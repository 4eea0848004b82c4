// Kernels and where they are found. A kernel is prepared once for one op and the types of its inputs and
// outputs; running it neither allocates nor decides anything. Limits of a kernel (alignment, width, type)
// are checked when it is prepared, never when it runs.
//
// A prepared kernel may be run for several steps of a Plan, one after another, never at the same time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/device/device.h"
#include "core/graph/op.h"

namespace lockstep {

// The memory of one run. Pointers are in the order of the op's inputs and outputs.
struct Launch {
  void* const* inputs;
  void* const* outputs;
  void* workspace;  // Kernel::workspace_bytes, aligned to kMemoryAlignment; null where 0
  void* stream;     // the device's stream; null on the CPU

  template <typename T>
  const T* input(int i) const {
    return static_cast<const T*>(inputs[i]);
  }
  // The same memory for writing: inputs that the op's traits say it overwrites.
  template <typename T>
  T* overwritten(int i) const {
    return static_cast<T*>(inputs[i]);
  }
  template <typename T>
  T* output(int i) const {
    return static_cast<T*>(outputs[i]);
  }
};

struct Kernel {
  std::string name;  // "conv2d_cpu (jit:avx512_core)": for plans and traces
  std::function<void(const Launch&)> run;
  std::size_t workspace_bytes = 0;
  // Of a device that queues work: the kernel waits for the device and computes on the host, so it cannot be recorded.
  bool on_host = false;
};

// What a kernel is asked for.
struct KernelRequest {
  const Op& op;
  std::span<const TensorType> inputs, outputs;
  Device& device;

  // The op as what it is; the registry key guarantees the type.
  template <typename ConcreteOp>
  const ConcreteOp& op_as() const {
    const auto* concrete = dynamic_cast<const ConcreteOp*>(&op);
    require(concrete != nullptr, op.name(), ": the kernel was made for another op");
    return *concrete;
  }
};

// The layouts that a kernel likes best; null for row-major. Sizes as the op's inputs and outputs.
struct LayoutChoice {
  std::vector<std::shared_ptr<const Layout>> inputs, outputs;
};

struct KernelEntry {
  // Makes the kernel for exactly these types (and layouts). Throws bad_input where it cannot.
  std::function<Kernel(const KernelRequest&)> make;
  // What it would like to be given. Asked with the layouts that the inputs have just now (a kernel that
  // takes any may say "as it comes") and row-major outputs; empty or nullopt: row-major only.
  std::function<std::optional<LayoutChoice>(const KernelRequest&)> layouts;
};

class KernelRegistry {
 public:
  void add(const std::string& op_name, DeviceKind device, KernelEntry entry);
  // nullptr where there is none.
  const KernelEntry* find(std::string_view op_name, DeviceKind device) const;
  // Prepares a kernel; throws bad_input naming op and device where there is none. An elementwise op with
  // unpadded layouts that are all equal is prepared as if it were row-major and flat.
  Kernel make(const KernelRequest& request) const;
  // All op names with a kernel for `device`, sorted.
  std::vector<std::string> names(DeviceKind device) const;

 private:
  std::map<std::pair<std::string, DeviceKind>, KernelEntry, std::less<>> entries_;
};

}  // namespace lockstep
