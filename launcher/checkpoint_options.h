// The command lines of `lockstep checkpoint ...`, and the option that other commands share with them.
#pragma once

#include <string>
#include <vector>

#include "launcher/options.h"

namespace lockstep {

// `given` is what stands behind "checkpoint". Errors as parse_command_line().
Command parse_checkpoint(const std::vector<std::string>& given);

// --checkpoint WHICH, for find_checkpoint().
class CommandLine;
void add_which_checkpoint(CommandLine& line);

}  // namespace lockstep
