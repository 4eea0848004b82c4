// The entry of libFuzzer for the target LOCKSTEP_FUZZ_TARGET.
#include <cstddef>
#include <cstdint>

#include "tests/core/temporary_directory.h"
#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lockstep;
  static const TemporaryDirectory folder;
  static const std::string path = folder.path("input");
  fuzz::write_file(path, {reinterpret_cast<const char*>(data), size});
  const auto* const target = std::ranges::find(
      fuzz::kTargets, std::string_view(LOCKSTEP_FUZZ_TARGET), &fuzz::NamedTarget::name);
  target->run(path);
  return 0;
}
