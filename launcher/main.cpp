// The lockstep program. Everything that goes wrong ends here: one line on stderr, an exit code, and the other ranks with it.
#include <unistd.h>

#include <cstdio>
#include <exception>

#include "core/base/error.h"
#include "dist/mpi_communicator.h"
#include "launcher/commands.h"
#include "launcher/setup.h"

namespace {

using namespace lockstep;

// The compiler was told to use these (cmake/LockstepCompile.cmake).
void check_processor() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return;
  environment_failed("this build of Lockstep needs a processor with AVX2 and FMA (x86-64-v3), which this one lacks");
#endif
}

int exit_code(ErrorKind kind) { return kind == ErrorKind::kBadInput ? kExitBadInput : kExitFailed; }

void tell(const ProgramContext& context, const char* message) {
  std::fflush(stdout);
  if (context.environment.world.size > 1 && context.environment.rank > 0) {
    std::fprintf(stderr, "lockstep: rank %d: %s\n", context.environment.rank, message);
  } else {
    std::fprintf(stderr, "lockstep: %s\n", message);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const ProgramContext context{read_environment(), std::chrono::steady_clock::now()};
  int code = kExitFailed;
  try {
    check_processor();
    const Command command = parse_command_line({argv + 1, argv + argc});
    return std::visit([&](const auto& chosen) { return run_command(chosen, context); }, command);
  } catch (const ToldError& error) {
    // All ranks stop by themselves with the same error.
    return exit_code(error.kind());
  } catch (const Error& error) {
    tell(context, error.what());
    code = exit_code(error.kind());
  } catch (const std::exception& error) {
    tell(context, error.what());
  }
  std::fflush(stderr);
  abort_mpi_world(code);
  return code;
}
