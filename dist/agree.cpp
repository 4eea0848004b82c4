#include "dist/agree.h"

#include <map>

#include "core/base/error.h"

namespace lockstep {

void agree(Communicator& communicator, const std::vector<Claim>& claims) {
  if (communicator.size() == 1) return;
  for (const Claim& claim : claims) {
    const auto values = gather_texts(communicator, claim.value, claim.what.c_str());
    std::map<std::string, int> votes;
    for (const std::string& value : values) ++votes[value];
    if (votes.size() == 1) continue;
    // Most votes win; among equals the value of the lowest rank.
    std::string common = values[0];
    for (const std::string& value : values) {
      if (votes[value] > votes[common]) common = value;
    }
    std::string odd;
    std::string odd_value;
    for (std::size_t rank = 0; rank < values.size(); ++rank) {
      if (values[rank] == common) continue;
      odd += (odd.empty() ? "" : ", ") + std::to_string(rank);
      odd_value = values[rank];
    }
    bad_input("the workers disagree on the ", claim.what, ": rank ", odd, " has ", odd_value,
              ", the others have ", common);
  }
}

}  // namespace lockstep
