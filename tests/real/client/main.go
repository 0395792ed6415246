// A participant: it joins, publishes random audio, subscribes to what there is, and leaves when its
// input ends. `mute` and `unmute` on its input do that.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

type noise struct{ lksdk.BaseSampleProvider }

func (*noise) NextSample(context.Context) (media.Sample, error) {
	data := make([]byte, 80)
	rand.Read(data)
	// Opus: one frame of 20 ms, mono (RFC 6716, 3.1).
	data[0] = 0x78
	return media.Sample{Data: data, Duration: 20 * time.Millisecond}, nil
}

func publish(room *lksdk.Room) (*lksdk.LocalTrackPublication, error) {
	codec := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	track, err := lksdk.NewLocalTrack(codec)
	if err != nil {
		return nil, err
	}
	if err := track.StartWrite(&noise{}, nil); err != nil {
		return nil, err
	}
	options := &lksdk.TrackPublicationOptions{Name: "mic", Source: livekit.TrackSource_MICROPHONE}
	return room.LocalParticipant.PublishTrack(track, options)
}

func run() error {
	url := flag.String("url", "", "the server")
	identity := flag.String("identity", "", "who joins")
	room := flag.String("room", "", "which room")
	relay := flag.Bool("relay", false, "connect by relay only, of which there is none")
	mutes := flag.Bool("publish", false, "publish audio")
	parent := flag.String("traceparent", "", "an attribute of the participant")
	flag.Parse()
	info := lksdk.ConnectInfo{
		APIKey: os.Getenv("LIVEKIT_API_KEY"), APISecret: os.Getenv("LIVEKIT_API_SECRET"),
		RoomName: *room, ParticipantIdentity: *identity,
	}
	if *parent != "" {
		info.ParticipantAttributes = map[string]string{"traceparent": *parent}
	}
	var options []lksdk.ConnectOption
	if *relay {
		options = append(options, lksdk.WithICETransportPolicy(webrtc.ICETransportPolicyRelay))
	}
	joined, err := lksdk.ConnectToRoom(*url, info, lksdk.NewRoomCallback(), options...)
	if err != nil {
		return err
	}
	var track *lksdk.LocalTrackPublication
	if *mutes {
		if track, err = publish(joined); err != nil {
			return err
		}
	}
	fmt.Println("joined")
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		if track != nil {
			track.SetMuted(input.Text() == "mute")
		}
	}
	joined.Disconnect()
	// The leave message has to get out.
	time.Sleep(300 * time.Millisecond)
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}
