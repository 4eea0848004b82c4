#include "dist/agree.h"

#include <map>

#include "core/base/error.h"

namespace lockstep {

void agree(Communicator& communicator, const std::vector<Claim>& claims) {
  if (communicator.size() == 1) return;
  for (const Claim& claim : claims) {
    const auto values = gather_texts(communicator, claim.value, "comparison of the ranks");
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
    throw SharedError(ErrorKind::kBadInput,
                      text("the workers disagree on the ", claim.what, ": rank ", odd, " has ", odd_value,
                           ", the others have ", common));
  }
}

void together(Communicator& communicator, const std::function<void()>& body) {
  std::string mine;  // first character: the kind; then the message
  try {
    body();
  } catch (const Error& error) {
    mine = static_cast<char>('0' + static_cast<int>(error.kind())) + std::string(error.what());
  } catch (const std::exception& error) {
    mine = static_cast<char>('0' + static_cast<int>(ErrorKind::kEnvironment)) + std::string(error.what());
  }
  const auto all = gather_texts(communicator, mine, "preparation");
  std::size_t first = all.size();
  bool same = true;
  for (std::size_t rank = all.size(); rank-- > 0;) {
    if (!all[rank].empty()) first = rank;
    same = same && all[rank] == all[0];
  }
  if (first == all.size()) return;
  const auto kind = static_cast<ErrorKind>(all[first][0] - '0');
  const std::string message = all[first].substr(1);
  throw SharedError(kind, same ? message : text("rank ", first, ": ", message));
}

}  // namespace lockstep
