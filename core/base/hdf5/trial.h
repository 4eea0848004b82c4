// What the HDF5 library does not survive.
#pragma once

#include <string>
#include <vector>

namespace lockstep {

// Reads the descriptions of these files (arrays, groups, attributes) in a child process first: on some damaged metadata the
// library crashes, never comes back, or takes gigabytes. Throws bad_input that names the file where it does. Errors that the
// library tells are left to whoever opens the file next. Costs a fork, and a second look at the descriptions.
//
// REQUIRES: no other thread of this process is inside the library.
void try_hdf5(const std::vector<std::string>& paths);

}  // namespace lockstep
