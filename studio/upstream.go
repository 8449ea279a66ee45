package studio

import (
	"encoding/json"
	"net/url"
	"strings"
)

// Upstream is a server elsewhere that speaks OpenAI's dialect. Its key is not part of it:
// Store.SetKey and Store.Key have it.
type Upstream struct {
	ID        ID       `json:"id"`
	Workspace ID       `json:"workspace,omitempty"` // "": for all of the studio
	Name      string   `json:"name"`
	URL       string   `json:"url"`              // its base, such as https://api.example.com/v1
	Models    []string `json:"models,omitempty"` // that are offered
	HasKey    bool     `json:"has_key"`
	Stamp
}

// Check reports what breaks a rule, and takes the slash off the end of the address.
func (u *Upstream) Check() error {
	if err := checkName("upstream", u.Name); err != nil {
		return err
	}
	at, err := url.Parse(u.URL)
	if err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http" {
		return invalid("the address is no http or https URL, such as https://api.example.com/v1")
	}
	if at.User != nil || at.RawQuery != "" || at.Fragment != "" {
		return invalid("the address has a user, a query or a fragment; keys are given apart")
	}
	u.URL = strings.TrimRight(u.URL, "/")
	return nil
}

// Secret is a key. It prints as dots, so that no log and no page shows it by accident; string(s) is
// the key itself.
type Secret string

const dots = "••••"

func (Secret) String() string               { return dots }
func (Secret) GoString() string             { return dots }
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal(dots) }
