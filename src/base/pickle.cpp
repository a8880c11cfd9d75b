#include "base/pickle.h"

#include <string>

#include "base/text.h"
#include "base/torch_objects.h"

namespace mpq {
namespace {

constexpr size_t max_objects = 1'000'000;  // 30 or so a tensor
constexpr size_t max_depth = 100;          // of open MARKs; torch.save needs 3

std::string name_of(uint8_t opcode) {
  constexpr std::pair<uint8_t, const char*> known[] = {
      {0x81, "NEWOBJ"}, {0x92, "NEWOBJ_EX"},        {0x93, "STACK_GLOBAL"}, {0x95, "FRAME"}, {'i', "INST"},
      {'o', "OBJ"},     {0x8c, "SHORT_BINUNICODE"}, {'P', "PERSID"},        {0x82, "EXT1"}};
  for (const auto& [code, name] : known)
    if (code == opcode) return fmt::format("{} (0x{:02x})", name, opcode);
  return fmt::format("0x{:02x}", opcode);
}

}  // namespace

// The stack machine that a pickle is a program of.
class PickleMachine {
 public:
  PickleMachine(Pickle& pickle, ByteReader& reader) : pickle_(pickle), reader_(reader) {}

  Pickle::Id run() {
    for (;;) {
      const size_t at = reader_.at();
      const auto opcode = static_cast<uint8_t>(reader_.number(1));
      if (opcode == '.') return pop();
      if (!push_constant(opcode) && !build_container(opcode) && !use_memo(opcode) && !call(opcode))
        throw UserError(fmt::format("its pickle has the opcode {} at byte {}, which plain tensors do not need",
                                    name_of(opcode), at));
    }
  }

 private:
  using Id = Pickle::Id;
  using Ids = Pickle::Ids;

  bool push_constant(uint8_t opcode) {
    switch (opcode) {
      case 'N':
        return push(Pickle::None{});
      case 0x88:
        return push(true);
      case 0x89:
        return push(false);
      case 'J':
        return push(int64_t{static_cast<int32_t>(reader_.number(4))});
      case 'K':
        return push(static_cast<int64_t>(reader_.number(1)));
      case 'M':
        return push(static_cast<int64_t>(reader_.number(2)));
      case 0x8a:
        return push(read_long());
      case 'X':
        return push_text(reader_.number(4));
      case 'U':
        return push_text(reader_.number(1));  // Python 2's strings
      case 'c':
        return push_global();
      case 0x80:
        return expect_protocol();
      default:
        return false;
    }
  }

  bool build_container(uint8_t opcode) {
    switch (opcode) {
      case '(':
        return push_mark();
      case ')':
        return push(Pickle::Tuple{});
      case ']':
        return push(Pickle::List{});
      case '}':
        return push(Pickle::Dict{});
      case 't':
        return push(Pickle::Tuple{pop_to_mark()});
      case 0x85:
        return push(Pickle::Tuple{pop_last(1)});
      case 0x86:
        return push(Pickle::Tuple{pop_last(2)});
      case 0x87:
        return push(Pickle::Tuple{pop_last(3)});
      case 'a':
        return append<Pickle::List>(pop_last(1), "what APPEND appends to");
      case 'e':
        return append<Pickle::List>(pop_to_mark(), "what APPENDS appends to");
      case 's':
        return append<Pickle::Dict>(pop_last(2), "what SETITEM sets an item of");
      case 'u':
        return append<Pickle::Dict>(pop_to_mark(), "what SETITEMS sets items of");
      default:
        return false;
    }
  }

  bool use_memo(uint8_t opcode) {
    switch (opcode) {
      case 'q':
        return put(reader_.number(1));
      case 'r':
        return put(reader_.number(4));
      case 'h':
        return get(reader_.number(1));
      case 'j':
        return get(reader_.number(4));
      default:
        return false;
    }
  }

  bool call(uint8_t opcode) {
    switch (opcode) {
      case 'Q':
        return push(make_storage(pickle_, pop()));
      case 'R':
        return reduce();
      case 'b':  // attributes of an OrderedDict: state_dict()'s _metadata, of no use here
        pop();
        return pickle_.get<Pickle::Dict>(top(), "what BUILD gives attributes to"), true;
      default:
        return false;
    }
  }

  bool push(Pickle::Object object) {
    if (pickle_.objects_.size() == max_objects)
      throw UserError(fmt::format("its pickle holds more than {} objects", max_objects));
    stack_.push_back(static_cast<Id>(pickle_.objects_.size()));
    pickle_.objects_.push_back(std::move(object));
    return true;
  }

  bool push_mark() {
    if (marks_.size() == max_depth) throw UserError("its pickle is nested too deeply");
    marks_.push_back(stack_.size());
    return true;
  }
  size_t base() const { return marks_.empty() ? 0 : marks_.back(); }
  Id top() const {
    if (stack_.size() <= base()) throw UserError("its pickle takes more from its stack than is there");
    return stack_.back();
  }
  Id pop() {
    const Id id = top();
    stack_.pop_back();
    return id;
  }
  Ids pop_last(size_t count) {
    if (stack_.size() - base() < count) throw UserError("its pickle takes more from its stack than is there");
    Ids items(stack_.end() - static_cast<ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }
  Ids pop_to_mark() {
    if (marks_.empty()) throw UserError("its pickle has no MARK where one is needed");
    Ids items = pop_last(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }

  template <class Container>
  bool append(const Ids& items, std::string_view what) {
    const Id container = top();
    pickle_.get<Container>(container, what);
    if (std::is_same_v<Container, Pickle::Dict> && items.size() % 2 != 0)
      throw UserError("its pickle sets a key without a value");
    Ids& all = std::get<Container>(pickle_.objects_[container]).items;
    all.insert(all.end(), items.begin(), items.end());
    return true;
  }

  // Every pickler numbers its memo from 0 without holes.
  bool put(uint64_t index) {
    if (index > memo_.size()) throw UserError(fmt::format("its pickle's memo has no place {} yet", index));
    if (index == memo_.size()) memo_.push_back(0);
    memo_[index] = top();
    return true;
  }
  bool get(uint64_t index) {
    if (index >= memo_.size()) throw UserError(fmt::format("its pickle's memo has no {}", index));
    stack_.push_back(memo_[index]);
    return true;
  }

  bool expect_protocol() {
    const uint64_t protocol = reader_.number(1);
    if (protocol != 2) throw UserError(fmt::format("its pickle has protocol {}, not 2 as torch.save's", protocol));
    return true;
  }
  bool push_text(uint64_t size) {
    const std::string_view text = reader_.text(size);
    if (find_invalid_utf8(text)) throw UserError("a text in its pickle is not UTF-8");
    return push(text);
  }
  int64_t read_long() {
    const auto width = static_cast<int>(reader_.number(1));
    if (width == 0) return 0;
    if (width > 8) throw UserError("its pickle holds an integer of more than 64 bits");
    const int unused = 64 - 8 * width;
    return static_cast<int64_t>(reader_.number(width) << unused) >> unused;  // the sign
  }
  bool push_global() {
    const std::string_view module = reader_.line(), name = reader_.line();
    return push(find_global(module, name));
  }

  bool reduce() {
    const Ids arguments = pickle_.get<Pickle::Tuple>(pop(), "a call's arguments").items;
    const auto function = pickle_.get<Pickle::Function>(pop(), "what is called");
    return push(call_function(pickle_, function, arguments));
  }

  Pickle& pickle_;
  ByteReader& reader_;
  Ids stack_, memo_;
  std::vector<size_t> marks_;  // the stack's height at each open MARK
};

Pickle::Pickle(ByteReader& reader) { root_ = PickleMachine(*this, reader).run(); }

}  // namespace mpq
