// One labelled text as a reader delivers it.
#pragma once
#include <string>

namespace mpq {

struct Row {
  std::string text;   // valid UTF-8, not blank
  std::string label;  // a name or a number, as written
  std::string group;  // rows of one group (a film) stay on one side of the validation split; may be empty
  std::string place;  // for messages: "line 12", "pos/0_9.txt"
};

// UserError if the text is blank or not UTF-8; `where` names the file and the place in it.
void check_text(const std::string& text, const std::string& where);

}  // namespace mpq
