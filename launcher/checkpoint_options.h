// The command lines of `lockstep checkpoint ...`.
#pragma once

#include <string>
#include <vector>

#include "launcher/options.h"

namespace lockstep {

// `given` is what stands behind "checkpoint". Errors as parse_command_line().
Command parse_checkpoint(const std::vector<std::string>& given);

}  // namespace lockstep
