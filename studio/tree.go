package studio

import "slices"

// Tree is a chat's messages by their places. It shares the messages' memory.
type Tree struct {
	messages []Message
	at       map[ID]int
	children map[ID][]int
}

// NewTree makes a tree of all messages of a chat, in the order in which they were added: parents
// before children. One whose parent is not among them is a root.
func NewTree(messages []Message) *Tree {
	t := &Tree{messages: messages, at: map[ID]int{}, children: map[ID][]int{}}
	for i := range messages {
		parent := messages[i].Parent
		if _, ok := t.at[parent]; !ok {
			parent = ""
		}
		t.at[messages[i].ID] = i
		t.children[parent] = append(t.children[parent], i)
	}
	return t
}

// Message returns the message of that ID, nil where there is none.
func (t *Tree) Message(id ID) *Message {
	if i, ok := t.at[id]; ok {
		return &t.messages[i]
	}
	return nil
}

func (t *Tree) parent(m *Message) ID {
	if t.Message(m.Parent) == nil {
		return ""
	}
	return m.Parent
}

// Children are the messages that follow one, the oldest first; "" gives the roots.
func (t *Tree) Children(id ID) []*Message {
	list := make([]*Message, len(t.children[id]))
	for i, n := range t.children[id] {
		list[i] = &t.messages[n]
	}
	return list
}

// Siblings are the versions of a turn, with the message itself, the oldest first.
func (t *Tree) Siblings(id ID) []*Message {
	m := t.Message(id)
	if m == nil {
		return nil
	}
	return t.Children(t.parent(m))
}

// SideBySide are the answers that were asked for at once with the message, with itself: its run. A
// message without a run is alone.
func (t *Tree) SideBySide(id ID) []*Message {
	m := t.Message(id)
	if m == nil {
		return nil
	}
	if m.Run == "" {
		return []*Message{m}
	}
	return slices.DeleteFunc(t.Siblings(id), func(other *Message) bool { return other.Run != m.Run })
}

// Branch is the way from the root to a message. Where the chat has no such message, or "" is asked
// for, it leads to the newest.
func (t *Tree) Branch(leaf ID) []*Message {
	m := t.Message(leaf)
	if m == nil {
		m = t.Message(t.Leaf(""))
	}
	var way []*Message
	for m != nil {
		way = append(way, m)
		m = t.Message(t.parent(m))
	}
	slices.Reverse(way)
	return way
}

// Leaf is the end of the newest branch that goes through a message: the last child of the last
// child, and so on. "" begins at the roots; it is "" where there is nothing.
func (t *Tree) Leaf(id ID) ID {
	for {
		next := t.children[id]
		if len(next) == 0 {
			return id
		}
		id = t.messages[next[len(next)-1]].ID
	}
}
