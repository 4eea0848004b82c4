// The command lines of `lockstep data ...`.
#pragma once

#include <string>
#include <vector>

#include "launcher/options.h"

namespace lockstep {

// `given` is what stands behind "data". Errors as parse_command_line().
Command parse_data(const std::vector<std::string>& given);

}  // namespace lockstep
