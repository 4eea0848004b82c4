// The command lines of the commands that start processes: launch and doctor.
#pragma once

#include <string>
#include <vector>

#include "launcher/options.h"

namespace lockstep {

// `given` is what stands behind "launch" or "doctor". Errors as parse_command_line().
Command parse_launch(const std::vector<std::string>& given);
Command parse_doctor(const std::vector<std::string>& given);

}  // namespace lockstep
