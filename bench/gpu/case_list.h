// Which cases a program of this folder was asked for, and how it tells of them: one JSON object a
// line.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/gpu/kernel_case.h"

namespace lockstep::bench {

using Json = nlohmann::ordered_json;

struct ListedCase {
  int number = 0;         // in the list of all cases
  std::string precision;  // "f32", "bf16", "tf32": f32 data, rounded to TF32 where it is multiplied
  KernelCase what;
};

// Options of the command line.
struct CaseChoice {
  bool list = false;                  // --list: tell of the cases only
  std::string only, precision, name;  // --only GROUP, --precision WORD, --name PART; empty: all
  int first = 0;                      // --first NUMBER: leave out those before
  bool autotune = false;              // --autotune
};

// Throws bad_input.
CaseChoice read_choice(int argc, char** argv);
// In order of number: f32, bf16, tf32.
std::vector<ListedCase> chosen_cases(const CaseChoice& choice);

// Name, sizes, and what has to be moved and computed at least.
Json described(const ListedCase& c);
// To standard output, at once.
void print(const Json& line);

}  // namespace lockstep::bench
